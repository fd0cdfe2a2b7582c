"""A sanitizer's report is shown whole, however much was logged behind it."""

from sanitizer import log_end, reports

TSAN = """WARNING: ThreadSanitizer: data race (pid=6735)
  Read of size 8 at 0x7ba000000060 by main thread:
    #0 epoll_ctl tsan_interceptors_posix.cpp:1883 (libtsan.so.2+0x5636d)

  Previous write of size 8 at 0x7ba000000060 by thread T1:
    #0 epoll_create1 tsan_interceptors_posix.cpp:1875 (libtsan.so.2+0x3f6fe)

SUMMARY: ThreadSanitizer: data race (libev.so.4+0x611c)"""
ASAN = """==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010
    #0 0x55d0 in view_release sidecar/proxy/view.c:46
SUMMARY: AddressSanitizer: heap-use-after-free sidecar/proxy/view.c:46 in view_release"""
UBSAN = """sidecar/http/path.c:12:3: runtime error: shift exponent 64 is too large
    #0 0x55d0 in path_normalise sidecar/http/path.c:12
    #1 0x55d1 in main sidecar/main.c:18"""
CHATTER = "2026-11-21T16:06:41.132Z info  retiring: a new process serves\n" * 200


def test_each_kind_whole():
    for report in (TSAN, ASAN, UBSAN):
        assert reports(CHATTER + report + "\n" + CHATTER) == report
    assert reports(f"{TSAN}\n{CHATTER}{UBSAN}\n{CHATTER}{ASAN}") == f"{TSAN}\n\n{UBSAN}\n\n{ASAN}"


def test_none():
    assert reports(CHATTER) == reports("") == ""
    assert log_end(CHATTER, 100) == CHATTER[-100:]
    # Its last word alone is no report.
    assert reports(CHATTER + "ThreadSanitizer: reported 1 warnings\n") == ""


def test_a_report_that_was_cut_off():
    cut = TSAN.split("\n\n")[0]
    assert reports(CHATTER + cut) == cut
    endless = TSAN.split("\n", 1)[0] + "\n" + CHATTER
    assert len(reports(endless).split("\n")) == 150


def test_the_first_ones_and_then_the_end():
    text = log_end((TSAN + "\n") * 10 + CHATTER + "last", 1000)
    assert text.count("WARNING: ThreadSanitizer") == 3
    assert text.startswith(TSAN) and text.endswith("last")
    assert "--- the end of the log" in text
