import pytest

from stagebook.door.guard import PrivateAddress, is_public, refuse_private
from stagebook.door.secrets import blot, redact, refuse_literals, resolve
from stagebook.model.errors import MissingKey, SecretInInput


def test_a_reference_is_resolved_inside_a_header() -> None:
    headers = {"authorization": "Bearer env:KEY", "accept": "text/html"}
    assert resolve(headers, {"KEY": "abc\n"}) == {"authorization": "Bearer abc", "accept": "text/html"}


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": "  "}])
def test_a_key_that_is_not_set_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(MissingKey, match="KEY is not set"):
        resolve({"authorization": "Bearer env:KEY"}, environment)


@pytest.mark.parametrize(
    "literal",
    [
        "sk-proj-" + "a1B2" * 10,
        "sk-ant-api03-" + "x" * 40,
        "AKIA" + "ABCD1234" * 2,
        "ghp_" + "z" * 36,
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "abcdefghijklmnop",
    ],
)
def test_what_looks_like_a_key_is_refused_in_an_input_without_repeating_it(literal: str) -> None:
    with pytest.raises(SecretInInput, match="env:NAME") as raised:
        refuse_literals(f'{{"note": "use {literal} here"}}', "the input")
    assert literal not in str(raised.value)
    assert literal not in redact(f"failed with {literal}")


def test_ordinary_text_is_no_secret() -> None:
    refuse_literals("the task-force asked for risk-averse desk-work, sk-8 and a skeleton", "the input")


def test_a_known_secret_is_blotted_out_wherever_it_stands() -> None:
    assert redact("key=hunter22;again hunter22", ("hunter22", "")) == "key=[secret];again [secret]"
    assert blot(b'{"echo": "hunter22"}', ("hunter22",)) == b'{"echo": "[secret]"}'


def test_a_key_of_one_letter_spoils_no_answer() -> None:
    assert blot(b'{"index": 0, "x": 1}', ("x", "")) == b'{"index": 0, "x": 1}'
    assert redact("extra", ("x",)) == "extra"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]:8080/",
        "http://10.1.2.3/",
        "http://192.168.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "file:///etc/passwd",
        "ftp://example.org/",
        "http:///nowhere",
    ],
)
def test_a_scraped_link_cannot_reach_this_machine_or_its_network(url: str) -> None:
    with pytest.raises(PrivateAddress):
        refuse_private(url)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(address)
