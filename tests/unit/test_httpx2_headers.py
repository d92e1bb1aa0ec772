from base64 import b64encode

from stagebook.door.httpx2_headers import disclose

BASIC = b64encode(b"user:aPasswordOfSomeLength").decode()
KEY = "sk-proj-CanaryCanaryCanaryCanary0123456789"
URL = "https://api.example.com/v1/chat"


def kept(headers: dict[str, str], **environment: str) -> dict[str, str]:
    return dict(disclose(URL, headers, environment).kept_headers)


def test_a_key_of_the_environment_is_kept_as_a_reference_to_it() -> None:
    assert kept({"authorization": f"Bearer {KEY}"}, OPENAI_API_KEY=KEY) == {
        "authorization": "Bearer env:OPENAI_API_KEY"
    }
    assert kept({"x-api-key": KEY}, ANTHROPIC_API_KEY=KEY) == {"x-api-key": "env:ANTHROPIC_API_KEY"}


def test_a_key_from_elsewhere_is_kept_as_a_blot() -> None:
    assert kept({"authorization": f"Bearer {KEY}"}) == {"authorization": "[secret]"}
    assert kept({"x-gateway": KEY}) == {"x-gateway": "[secret]"}


def test_a_header_that_nobody_knows_is_kept_by_its_name() -> None:
    assert kept({"x-purpose": "tides", "content-type": "application/json"}) == {
        "x-purpose": "[secret]",
        "content-type": "application/json",
    }


def test_what_differs_from_one_sending_to_the_next_is_not_kept() -> None:
    assert kept({"x-stainless-retry-count": "1", "idempotency-key": "a", "content-length": "3", "host": "x"}) == {}


def test_the_connections_own_headers_are_left_to_the_transport() -> None:
    given = {"host": "x", "content-length": "3", "accept-encoding": "zstd", "accept": "*/*"}
    assert dict(disclose(URL, given, {}).headers) == {"accept": "*/*"}


def test_only_what_is_a_secret_is_blotted_out_of_answers() -> None:
    given = {"authorization": f"Bearer {KEY}", "x-purpose": "forecasting", "x-other": "a-long-word-that-is-a-token"}
    assert disclose(URL, given, {}).secrets == (f"Bearer {KEY}", KEY, "a-long-word-that-is-a-token")


def test_the_parts_of_a_credential_are_secrets_too() -> None:
    assert "aPasswordOfSomeLength" in disclose(URL, {"authorization": f"Basic {BASIC}"}, {}).secrets
    told = disclose(URL, {"cookie": "id=session-0123456789; theme=dark"}, {})
    assert told.secrets == ("id=session-0123456789; theme=dark", "theme=dark", "session-0123456789")


def test_what_stands_before_a_reference_is_only_a_scheme() -> None:
    assert kept({"cookie": f"id=another-secret {KEY}"}, OPENAI_API_KEY=KEY) == {"cookie": "[secret]"}


def test_keys_in_an_address_are_sent_and_not_kept() -> None:
    told = disclose("https://user:passw0rd@example.com/v1?key=AIzaSecretSecret&page_token=abc&alt=sse#part", {}, {})
    assert told.kept_url == "https://example.com/v1?key=[secret]&page_token=abc&alt=sse"
    assert told.url == "https://example.com/v1?key=AIzaSecretSecret&page_token=abc&alt=sse"
    assert set(told.secrets) == {"passw0rd", "AIzaSecretSecret"}


def test_a_reference_in_an_address_is_only_text() -> None:
    told = disclose("https://example.com/search?q=env:HOME", {}, {"HOME": "/root"})
    assert told.url.endswith("?q=env:HOME")
    assert told.kept_url.endswith("?q=env%3AHOME")
