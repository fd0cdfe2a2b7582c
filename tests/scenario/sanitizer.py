"""What a sanitizer said, found in a log of any length."""

import re

BEGINS = re.compile(r"(WARNING|ERROR): \w+Sanitizer|runtime error:")
ENDS = re.compile(r"^SUMMARY: \w+Sanitizer")
LINES = 150  # of one report: the stacks of a leak may be many
REPORTS = 3  # the first ones; what follows is often their consequence


def reports(log):
    """Its reports, whole, or "". UBSan's have no summary: a line and the stack below."""
    lines = log.split("\n")
    found = []
    at = 0
    while at < len(lines) and len(found) < REPORTS:
        begins = BEGINS.search(lines[at])
        if not begins:
            at += 1
            continue
        rest = lines[at:at + LINES]
        if begins.group(1):
            n = next((n for n, line in enumerate(rest) if ENDS.search(line)), len(rest) - 1)
        else:
            n = next((n for n, line in enumerate(rest[1:]) if not re.match(r"\s+#\d", line)),
                     len(rest) - 1)
        found.append("\n".join(rest[:n + 1]))
        at += n + 1
    return "\n\n".join(found)


def log_end(log, most):
    """For the message of a failure: the reports, wherever they stand, then the last `most`
    characters."""
    found = reports(log)
    return f"{found}\n--- the end of the log\n{log[-most:]}" if found else log[-most:]
