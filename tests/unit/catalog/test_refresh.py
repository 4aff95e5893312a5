"""The scripts that keep the data files fresh."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import yaml

SCRIPTS = Path(__file__).parents[3] / "scripts"


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_catalogue_agrees_with_the_installed_botocore() -> None:
    """A new instance type shows here first."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "refresh_instances.py"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "instances.yaml agrees with botocore\n")


def test_differences_are_found() -> None:
    """Missing, too many, and wrong about batch."""
    module = script("refresh_instances")
    content = yaml.safe_load(module.DATA.read_text())
    content["instances"]["ml.g5.huge"] = content["instances"].pop("ml.g5.xlarge")
    content["families"]["p5"]["batch_transform"] = True
    found = list(module.compare(content))
    assert found[:2] == ["missing: ml.g5.xlarge", "cannot host any more: ml.g5.huge"]
    assert "batch_transform of ml.p5.48xlarge is False" in found


def test_published_prices_replace_others_and_nothing_else_changes(tmp_path: Path) -> None:
    """Also when it is run twice; other components' prices are not taken."""
    module = script("refresh_instances")
    offer = {
        "products": {
            "a": {"attributes": {"component": "Hosting", "instanceName": "ml.p5.4xlarge"}},
            "b": {"attributes": {"component": "Training", "instanceName": "ml.g5.xlarge"}},
        },
        "terms": {
            "OnDemand": {
                sku: {"t": {"priceDimensions": {"d": {"pricePerUnit": {"USD": "7.5000"}}}}} for sku in ("a", "b")
            }
        },
    }
    path = tmp_path / "offer.json"
    path.write_text(json.dumps(offer))
    prices = dict(module.hosting_prices(module.read_offer(path)))
    assert prices == {"ml.p5.4xlarge": 7.5}
    before = module.DATA.read_text()
    once = module.with_prices(before, prices, "2027-01-31")
    assert module.with_prices(once, prices, "2027-01-31") == once
    old, new = yaml.safe_load(before), yaml.safe_load(once)
    row = new["instances"]["ml.p5.4xlarge"]
    assert (row.pop("usd_per_hour"), row.pop("price")) == (7.5, "price-list")
    assert new["price_sources"].pop("price-list")["as_of"] == "2027-01"
    for key in ("usd_per_hour", "price"):
        old["instances"]["ml.p5.4xlarge"].pop(key)
    assert new == old


def test_images_are_rendered_from_the_sdks_rows(tmp_path: Path) -> None:
    """Tags, hidden CUDA, and regions that an image is absent from."""
    module = script("refresh_images")
    row = {
        "container_version": {"gpu": "cu130-ubuntu24.04"},
        "py_versions": ["py312"],
        "registries": {"us-east-1": "1", "cn-north-1": "2"},
        "repository": "r",
        "tag_prefix": "1.0",
    }
    for engine in module.data("containers")["engines"].values():
        for family in engine["families"]:
            (tmp_path / f"{family}.json").write_text(json.dumps({"versions": {"1.0": row}}))
    lmi = {"versions": {"2.0": {"registries": {"us-east-1": "1"}, "repository": "d", "tag_prefix": "2.0-lmi"}}}
    (tmp_path / "djl-lmi.json").write_text(json.dumps(lmi))
    found = yaml.safe_load(module.render(tmp_path, "somewhere", "2027-01-31"))
    assert found["accounts"] == {"us-east-1": "1", "cn-north-1": "2"}
    assert found["families"]["vllm"]["versions"] == {"1.0": {"tag": "1.0-gpu-py312-cu130-ubuntu24.04", "cuda": "13.0"}}
    assert found["families"]["djl-lmi"]["versions"]["2.0"] == {"tag": "2.0-lmi", "cuda": None, "absent_from": "list-1"}
    assert found["absent"] == {"list-1": ["cn-north-1"]}
