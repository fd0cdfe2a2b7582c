"""Heads of HTTP/2 requests that would mean something else by HTTP/1: numbers 39 to 42 of the project's
list of inputs; and their limits."""

import pytest

import h2wire
from h2wire import PROTOCOL_ERROR, request_fields
from inputs import cases
from inputs_h2 import MB, expect_problem, h2, lives, only_honest, refuse


# --- 39: characters ---------------------------------------------------------------------------

@pytest.mark.parametrize("name", cases(
    upper="X-Upper", upper_inside="x-uPper", cr="x\r", lf="x\n", crlf="x\r\ny", nul="x\0y",
    colon="x:y", colon_end="x:", space="x y", space_end="x ", space_first=" x", tab="x\ty",
    empty="", high="x\xe9", delete="x\x7f", control="x\x01", comma="x,y", slash="x/y"))
def test_39_field_names(sc, name):
    refuse(sc, [*request_fields(path="/never"), (name, "v")])


@pytest.mark.parametrize("value", cases(
    cr="a\rb", lf="a\nb", crlf="a\r\nContent-Length: 5", nul="a\0b", cr_end="a\r", lf_end="a\n",
    nul_alone="\0", space_first=" a", space_end="a ", tab_first="\ta", tab_end="a\t",
    control="a\x01b", delete="a\x7fb"))
def test_39_field_values(sc, value):
    refuse(sc, [*request_fields(path="/never"), ("x-value", value)])


@pytest.mark.parametrize("bad", cases(
    path_crlf={"path": "/never HTTP/1.1\r\nX: y\r\n"}, path_lf={"path": "/ne\nver"},
    path_nul={"path": "/ne\0ver"}, method_crlf={"method": "GET / HTTP/1.1\r\n\r\nGET"},
    method_space={"method": "GE T"}, method_nul={"method": "GET\0"}, method_empty={"method": ""},
    authority_crlf={"authority": "test\r\nX: y"}, authority_nul={"authority": "te\0st"},
    authority_space={"authority": "te st"}, scheme_crlf={"scheme": "http\r\n"},
    scheme_space={"scheme": "ht tp"}))
def test_39_pseudo_fields(sc, bad):
    fields = {"path": "/never", **bad}
    refuse(sc, request_fields(**fields))


@pytest.mark.parametrize("bad", cases(
    path_space={"path": "/ne ver"}, path_fragment={"path": "/never#part"},
    path_high={"path": "/never\xe9"}, path_tab={"path": "/ne\tver"}, path_nul={"path": "/never%00"},
    path_relative={"path": "never"}, path_absolute={"path": "http://test/never"},
    path_asterisk={"path": "*"}, scheme_other={"scheme": "ftp"},
    authority_userinfo={"authority": "user@test"}, authority_path={"authority": "test/never"},
    authority_empty={"authority": ""}, authority_port={"authority": "test:99999x"}))
def test_39_targets_are_checked_as_by_http_1(sc, bad):
    """400, or a reset where nghttp2 sees it first."""
    sc.proxy()
    client = h2(sc)
    st = client.open(request_fields(**{"path": "/never", **bad}))
    client.until(lambda: st.over, "its end")
    if st.reset is None:
        expect_problem(client, st, "bad_request")
    else:
        assert st.reset == PROTOCOL_ERROR, st
    lives(client)
    client.close()
    only_honest(sc)


def test_39_in_trailers(sc):
    """The head and the body have gone by then: the upstream never sees a whole request."""
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    client.data(st.id, b"hello")
    client.headers(st.id, [("x-trailer", "a\r\nb: c")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


def test_39_pseudo_fields_in_trailers(sc):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    client.headers(st.id, [(":path", "/other")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


@pytest.mark.parametrize("name", ["Transfer_Encoding", "content_length", "x_forwarded_for"])
def test_39_underscore_doubles(sc, name):
    refuse(sc, [*request_fields(path="/never"), (name.lower(), "1")], "bad_request")


# --- 40: how long the body is ------------------------------------------------------------------

@pytest.mark.parametrize("length", cases(
    plus="+5", minus="-5", hex="0x5", empty="", words="five", list="5, 5", space="5 5",
    two_to_64="18446744073709551616", huge="9" * 40))
def test_40_content_length_that_is_no_number(sc, length):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", length)], end=False)


def test_40_content_length_twice(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", "5"),
                ("content-length", "5")], end=False)


def test_40_content_length_without_data(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", "5")], end=True)


@pytest.mark.parametrize("data", cases(
    less=(b"four",), more=(b"longer",), none=(b"",), much_more=(b"x" * 16000,)))
def test_40_content_length_is_not_the_datas(sc, data):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, data, end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]) or (len(data) > 5 and not whole[0].body), whole


def test_40_more_data_in_a_second_frame(sc):
    """The five bytes that were promised have gone on; the sixth is the end of it."""
    sc.proxy(script=lambda conn: conn.head() and conn.read_to_end())
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, b"hello")
    client.data(st.id, b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    assert [r.target for r in sc.app.requests] in ([], ["/upload"])
    assert all(b"smuggled" not in c.received for c in sc.app.conns)


def test_40_a_trailer_ends_a_body_that_is_too_short(sc):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, b"four")
    client.headers(st.id, [("x-trailer", "v")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


# --- 41, 42: fields that another protocol's framing would heed -----------------------------------

@pytest.mark.parametrize("field", cases(
    connection=(("connection", "close"),), keep_alive=(("keep-alive", "timeout=5"),),
    proxy_connection=(("proxy-connection", "keep-alive"),),
    transfer_encoding=(("transfer-encoding", "chunked"),), upgrade=(("upgrade", "websocket"),),
    te=(("te", "gzip"),), te_list=(("te", "trailers, gzip"),), te_empty=(("te", ""),)))
def test_41_connection_specific_fields(sc, field):
    refuse(sc, [*request_fields("POST", "/never"), field], end=False)


def test_41_te_trailers_is_fine(sc):
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives", headers=[("te", "trailers")]).status == 200
    assert "te" not in sc.app.requests[0].get("connection", "") or \
        sc.app.requests[0].get("te") == "trailers"


def test_41_no_100_for_another_expectation(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("expect", "200-ok")], "expectation_failed")


def test_42_authority_and_host_differ(sc):
    refuse(sc, [*request_fields(path="/never"), ("host", "other")], "bad_request")


def test_42_authority_and_host_are_the_same(sc):
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives", headers=[("host", "TEST")]).status == 200
    assert client.ask("GET", "/lives", authority=None, headers=[("host", "by-host")]).status == 200
    assert [r.get("host").lower() for r in sc.app.requests] == ["test", "by-host"]


def test_42_no_authority_at_all(sc):
    refuse(sc, request_fields(path="/never", authority=None))


def test_42_host_twice(sc):
    refuse(sc, [*request_fields(path="/never"), ("host", "test"), ("host", "test")])


@pytest.mark.parametrize("fields", cases(
    no_method=(request_fields(None, "/never"),), no_path=(request_fields(path=None),),
    no_scheme=(request_fields(path="/never", scheme=None),),
    empty_path=(request_fields(path=""),), nothing=([],), only_regular=([("x", "y")],),
    method_twice=([*request_fields(path="/never"), (":method", "GET")],),
    path_twice=([*request_fields(path="/never"), (":path", "/never")],),
    scheme_twice=([*request_fields(path="/never"), (":scheme", "http")],),
    authority_twice=([*request_fields(path="/never"), (":authority", "test")],),
    unknown=([*request_fields(path="/never"), (":unknown", "x")],),
    status=([*request_fields(path="/never"), (":status", "200")],),
    protocol_without_connect=([*request_fields(path="/never"), (":protocol", "websocket")],),
    late=([(":method", "GET"), (":scheme", "http"), (":authority", "test"), ("x", "y"),
           (":path", "/never")],),
    colon_alone=([*request_fields(path="/never"), (":", "x")],)))
def test_42_pseudo_fields(sc, fields):
    refuse(sc, fields)


@pytest.mark.parametrize("method", ["TRACE"])
def test_42_methods_that_are_not_served(sc, method):
    refuse(sc, request_fields(method, "/never"), "method_not_allowed")


def test_42_connect(sc):
    """Plain CONNECT has neither scheme nor path (RFC 9113 §8.5), and is not served."""
    refuse(sc, [(":method", "CONNECT"), (":authority", "test:443")], "method_not_allowed", end=False)


def test_42_connect_with_a_path(sc):
    refuse(sc, request_fields("CONNECT", "/never"), end=False)


# --- limits of a head --------------------------------------------------------------------------

def test_more_fields_than_the_limit(sc):
    refuse(sc, [*request_fields(path="/never"), *((f"x-{i}", "") for i in range(100))],
           "headers_too_large")


def test_as_many_fields_as_the_limit(sc):
    """Pseudo-fields count, too."""
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives",
                      headers=[(f"x-{i}", "") for i in range(96)]).status == 200


def test_more_bytes_of_fields_than_the_limit(sc):
    """The client is told of the limit before (SETTINGS_MAX_HEADER_LIST_SIZE)."""
    sc.proxy(http={"maxHeaderBytes": "4KiB"})
    client = h2(sc)
    assert client.settings[h2wire.MAX_HEADER_LIST_SIZE] == 4096
    st = client.open([*request_fields(path="/never"), ("x-long", "y" * 4096)])
    expect_problem(client, st, "headers_too_large")
    lives(client)
    client.close()
    only_honest(sc)


def test_too_large_with_a_body(sc):
    """The answer does not wait for the body, and the body does not stall the connection."""
    sc.proxy()
    client = h2(sc)
    st = client.open([*request_fields("POST", "/never"), *((f"x-{i}", "") for i in range(100))],
                     end=False)
    client.send_body(st, bytes(MB), end=True)
    client.until(lambda: st.over, "the answer")
    assert st.status == 431
    lives(client)
    client.close()
    only_honest(sc)
