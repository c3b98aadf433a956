"""Lists of hosts in brackets."""

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.support.host_list import MOST_HOSTS, expand_hosts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "localhost"),
        (" node2 ,node1,, node2 ", "node2 node1"),
        ("node1 node2\tnode3", "node1 node2 node3"),
        ("[node1, node2]", "node1 node2"),
        ("[node[1-2], x]", "node1 node2 x"),
        ("node[100-102]", "node100 node101 node102"),
        ("node[01-03]", "node01 node02 node03"),
        ("node[9-11]", "node09 node10 node11"),
        ("node[1,3]", "node1 node3"),
        ("node[1, 3],x", "node1 node3 x"),
        ("node[7]-ib", "node7-ib"),
        ("n[1-2]r[1-2]", "n1r1 n1r2 n2r1 n2r2"),
        ("n[1-2,05-06,1]", "n1 n2 n05 n06"),
        ("me@node.site.eu,fe80::1%eth0", "me@node.site.eu fe80::1%eth0"),
    ],
)
def test_host_ranges_are_expanded(text: str, expected: str) -> None:
    assert expand_hosts(text) == tuple(expected.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "'' names no host"),
        (" , ", "names no host"),
        ("[]", "names no host"),
        ("node[1-3", "a bracket too many or too few"),
        ("node1-3]", "a bracket too many or too few"),
        ("node[[1]]", "a bracket too many or too few"),
        ("node[]", "'' in 'node[]' is neither a number nor a range"),
        ("node[a-c]", "'a-c' in 'node[a-c]' is neither a number nor a range"),
        ("node[1-2-3]", "neither a number nor a range"),
        ("node[5-3]", "'5-3' in 'node[5-3]' ends before it begins"),
        ("node[1-99999999999]", f"more than {MOST_HOSTS} hosts"),
        ("n[1-999]r[1-999]", f"998001 hosts, more than {MOST_HOSTS}"),
        ("-oProxyCommand=x", "'-oProxyCommand=x' is no name of a host"),
        ("node1;node2", "'node1;node2' is no name of a host"),
    ],
)
def test_invalid_host_list_is_refused(text: str, expected: str) -> None:
    with pytest.raises(PipelineError) as caught:
        expand_hosts(text)
    assert expected in str(caught.value)
