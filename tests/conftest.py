"""What all tests share."""

import pytest
import torch

torch.set_num_threads(1)  # the networks are small: more threads only get in each other's way


@pytest.fixture
def yahoo(tmp_path_factory, monkeypatch):
    """Yahoo Finance on loopback: this process and those it starts reach no other while the test lasts."""
    from yahoo_server import Yahoo

    with Yahoo(tmp_path_factory.mktemp("yahoo")) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
