/* yaml_words.h - libyaml's errors in the words of somebody who edits a file. */
#ifndef SLUICE_CONFIG_YAML_WORDS_H
#define SLUICE_CONFIG_YAML_WORDS_H

#include "config/build.h"

#include <yaml.h>

/* After yaml_parser_parse() has failed on text, for any error but that of memory. */
void yaml_words_report(const yaml_parser_t *parser, const char *text, size_t n,
                       struct config_problems *problems);

#endif
