"""Strangers are kept out: other sites, other names, and without the token everybody."""

import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError
from isdm.studio.server import address, is_loopback, open_socket
from studios import serving


def status(url: str, body: bytes | None = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, named), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_on_loopback_only_its_own_page_may_ask(model: Path, tmp_path: Path) -> None:
    with serving(model, None, None, tmp_path / "painted") as url:
        assert status(f"{url}/api/state") == 200
        assert status(f"{url}/api/state", Host="evil.example") == 403
        assert status(f"{url}/api/state", Origin="https://evil.example") == 403
        assert status(f"{url}/api/jobs/1/cancel", b"") == 403
        assert status(f"{url}/api/jobs/1/cancel", b"", Origin="https://evil.example") == 403
        assert status(f"{url}/api/jobs/1/cancel", b"", Origin=url) == 400, "let in, but there is no such job"
        assert status(f"{url}/static/../app.py") != 200
        with urllib.request.urlopen(url) as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_elsewhere_the_token_is_needed(model: Path, tmp_path: Path) -> None:
    with serving(model, None, None, tmp_path / "painted", token="secret") as url:
        assert status(f"{url}/api/state") == 403
        assert status(f"{url}/?token=guess") == 403
        assert status(f"{url}/api/state?token=secret") == 403, "the token opens the page alone"
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with opener.open(f"{url}/?token=secret") as answer:
            assert answer.geturl() == f"{url}/", "the token does not stay in the address"
        with opener.open(f"{url}/api/state") as answer:
            assert answer.status == 200


def test_addresses() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.org")
    assert address("::1", 80, None) == "http://[::1]:80/"
    assert address("10.0.0.1", 80, "abc") == "http://10.0.0.1:80/?token=abc"
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="another --port"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def test_a_dataset_is_no_model(parts: SegmentationDataset, tmp_path: Path) -> None:
    from isdm.errors import ModelError

    with pytest.raises(ModelError, match="isdm train"), serving(parts.folder, None, None, tmp_path / "painted"):
        pass
