"""What the demo prints at its end: the drain report, and a line for each client of each phase.

    table.py report LOG          the last drain report in a log, indented
    table.py table DIR STATUS    of the results in DIR; exit 1 if the demo did not hold
"""

import glob
import json
import os
import sys

MARK = "drain report "


def report(log):
    with open(log, encoding="utf-8", errors="replace") as f:
        lines = [line for line in f if MARK in line]
    if not lines:
        print("no drain report in the log")
        return 1
    told = json.loads(lines[-1][lines[-1].index(MARK) + len(MARK):])
    for name, counts in list(told.get("classes", {}).items()):
        if isinstance(counts, dict) and not any(counts.values()):
            del told["classes"][name]  # nothing was open of it
    print(json.dumps(told, indent=2))
    return 0


def share(result):
    versions = {v: n["total"] for v, n in result["versions"].items()}
    total = sum(versions.values())
    return " ".join(f"{v} {100 * n / total:.2f} %" for v, n in sorted(versions.items())) if total else ""


def why(result):
    words = [f"{n} {kind}" for kind, n in result["failed_by_kind"].items()
             if n and kind != "proxy_error"]
    return ", ".join(words + [f"{n} {w}" for w, n in result["proxy_errors"].items()])


def verdicts(results, leak, session, status):
    """What the demo claims, checked against what was counted."""
    def total(phase, key):
        return sum(r[key] for name, r in results.items() if name.startswith(phase))

    split = next((r["versions"] for n, r in results.items() if n.startswith("1-")), {})
    picked = split.get("v2", {}).get("total", 0)
    outage = max([r["longest_gap_ms"] for n, r in results.items()
                  if n.startswith("3-") and "slow" not in n] or [0])
    in_flight = total("3-", "failed") + total("3-", "idle_close_crossed")
    refused = sum(n for name, r in results.items() if name.startswith("2-")
                  for word, n in r["proxy_errors"].items() if "connection_refused" in word)
    lost = total("2-", "failed") + total("2-", "idle_close_crossed") - refused
    return [
        (abs(picked - 1000) <= 8, f"split: {picked} of 20000 went to v2, 1000 were meant to"),
        (total("1-", "failed") == 0, "nothing failed while nothing was broken"),
        (refused < 0.05 * total("2-", "sent") and lost <= 20,
         f"upstream away: of {total('2-', 'sent')} requests {refused} were v2's share of that second "
         f"and got 502, {lost} were in flight there"),
        (in_flight <= 24, f"kill -9: {in_flight} requests were in flight and lost, of at most 24; "
                          f"the longest pause was {outage:.0f} ms"),
        (leak["found"], f"leak: descriptors that only grow were told of after {leak['after_ms']} ms"),
        (session["held"] == 0 and session["after_ms"] <= 3000,
         f"killed application: its device session was given back after {session['after_ms']} ms"),
        (total("6-", "failed") == 0 and total("6-", "app_error") == 0 and status == 0,
         f"drain: {total('6-', 'failed')} of {total('6-', 'sent')} failed, exit code {status}"),
    ]


def table(directory, status):
    results = {}
    told = {}
    for name in ("leak", "session"):
        with open(os.path.join(directory, name), encoding="utf-8") as f:
            told[name] = json.load(f)
    for path in sorted(glob.glob(os.path.join(directory, "*.json"))):
        with open(path, encoding="utf-8") as f:
            results[os.path.basename(path)[:-5]] = json.load(f)
    print(f"{'phase':11} {'client':16} {'sent':>8} {'answered':>9} {'failed':>7} {'refused':>8} "
          f"{'crossed':>8} {'p99 ms':>7}  versions")
    last = None
    for name, r in results.items():
        phase, client = name.split(".", 1)
        print(f"{phase if phase != last else '':11} {client:16} {r['sent']:>8} {r['answered']:>9} "
              f"{r['failed']:>7} {r['refused']:>8} {r['idle_close_crossed']:>8} "
              f"{r['latency_us']['p99'] / 1000:>7.1f}  {share(r)}")
        if why(r):
            print(f"{'':29}{why(r)}")
        last = phase
    print("failed: taken by the sidecar, and no whole answer, or an error that it made up itself;\n"
          "refused: connects while nobody listened; crossed: requests that met the close of an idle\n"
          "connection\n")
    checked = verdicts(results, told["leak"], told["session"], status)
    for holds, text in checked:
        print(f"  {'yes' if holds else 'NO '}  {text}")
    return 0 if all(holds for holds, _ in checked) else 1


def main(argv):
    if len(argv) == 3 and argv[1] == "report":
        return report(argv[2])
    if len(argv) == 4 and argv[1] == "table":
        return table(argv[2], int(argv[3]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
