/* yaml_words.c - libyaml's errors in the words of somebody who edits a file. */
#include "config/yaml_words.h"

#include "config/problems.h"
#include "config/text_place.h"

#include <stdio.h>

static const struct {
    const char *theirs, *ours;
    bool from; /* the place is where the whole began, not where it was seen to be wrong */
} words[] = {
    {"mapping values are not allowed in this context",
     "no key can be here: check the indentation, or put a value with \": \" in it in quotes",
     false},
    {"did not find expected key", "expected a key: check the indentation", false},
    {"could not find expected ':'", "expected \": \" behind the key", true},
    {"did not find expected '-' indicator", "expected \"- \" here: check the indentation", false},
    {"did not find expected ',' or ']'", "expected \",\" or \"]\"", false},
    {"did not find expected ',' or '}'", "expected \",\" or \"}\"", false},
    {"did not find expected node content", "expected a value", false},
    {"did not find expected <document start>", "nothing can follow the document's end", false},
    {"found unexpected end of stream", "a quoted string has no end", true},
    {"found unexpected document indicator", "a quoted string has no end", true},
    {"block sequence entries are not allowed in this context",
     "no list item can be here: check the indentation", false},
    {"found a tab character that violates indentation", "a tab does not indent: use spaces", false},
    {"found a tab character where an indentation space is expected",
     "a tab does not indent: use spaces", false},
    {"found unknown escape character",
     "unknown escape after \\ in a double-quoted string: write \\\\, or use single quotes", false},
    {"found undefined tag handle", "tags (!) are not supported", false},
    {"found incompatible YAML document", "the version of YAML is 1.1 or 1.2", false},
    {"found unknown directive name", "unknown directive: %YAML alone is known", false},
};

static void report_encoding(const yaml_parser_t *parser, const char *text, size_t n,
                            struct config_problems *problems)
{
    struct text_place at = text_place_begin((struct str){text, n});
    while (at.at < n && at.at < parser->problem_offset) /* only the byte is told */
        text_place_step(&at);
    if (parser->problem && strstr(parser->problem, "control characters"))
        problem_add(problems, at.line, at.column, "", false, "control character 0x%02x in the text",
                    (unsigned)parser->problem_value);
    else
        problem_add(problems, at.line, at.column, "", false, "the text is not UTF-8 here");
}

static const char *translate(const char *problem, const struct text_place *at, bool *ret_from)
{
    char here = at->at < at->text.n ? at->text.p[at->at] : '\0';

    *ret_from = false;
    if (strstr(problem, "cannot start any token") && here)
        return here == '\t' ? "a tab does not indent: use spaces"
                            : "a value cannot begin with this character: put it in quotes";
    if (here == '{' && at->at > 0 && at->text.p[at->at - 1] == '$')
        return "inside [..] and {..}, a value with ${ in it stands in quotes";
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(problem, words[i].theirs) == 0) {
            *ret_from = words[i].from;
            return words[i].ours;
        }
    }
    return problem;
}

void yaml_words_report(const yaml_parser_t *parser, const char *text, size_t n,
                       struct config_problems *problems)
{
    if (parser->error == YAML_READER_ERROR) {
        report_encoding(parser, text, n, problems);
        return;
    }
    const yaml_mark_t *mark = &parser->problem_mark, *begin = &parser->context_mark;
    struct text_place at = text_place_begin((struct str){text, n}), from = at;
    char context[64] = "";
    bool begun;
    /* libyaml ends the last line where the text does not: that is one line too many. */
    text_place_seek(&at, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1);
    const char *what = translate(parser->problem ? parser->problem : "not YAML", &at, &begun);
    if (begun && parser->context) {
        text_place_seek(&from, (uint32_t)begin->line + 1, (uint32_t)begin->column + 1);
        at = from;
    } else if (parser->context && begin->line + 1 != at.line) {
        (void)snprintf(context, sizeof(context), " (of what begins on line %zu)", begin->line + 1);
    }
    problem_add(problems, at.line, at.column, "", false, "%s%s", what, context);
}
