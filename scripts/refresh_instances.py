"""Compare llm_deploy/catalog/data/instances.yaml with AWS's own lists, and refresh its prices.

    python scripts/refresh_instances.py                 # compare with the installed botocore; exit 1 on a difference
    python scripts/refresh_instances.py --prices FILE   # prices from a saved offer file (see below)
    python scripts/refresh_instances.py --prices aws    # ask the Price List API (pricing:GetProducts)

An offer file is what https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonSageMaker/current/REGION/index.json
answers. Rows whose price AWS publishes for hosting get it and become `published`; the others stay as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import yaml

DATA = Path(__file__).parents[1] / "llm_deploy" / "catalog" / "data" / "instances.yaml"
LEFT_OUT_FAMILIES = frozenset({"p2", "dl1"})
"""Accelerated families that can host and are of no use for LLMs."""
ACCELERATED = re.compile(r"^ml\.(g|p|inf|trn)\d")
SOURCE = "price-list"
ROW = re.compile(r"^  (?P<name>ml\.\S+): \{(?P<facts>.*), usd_per_hour: [^,]+, price: [^}]+\}$")


def main() -> int:
    """Compare, or refresh the prices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prices", metavar="FILE|aws")
    arguments = parser.parse_args()
    text = DATA.read_text(encoding="utf-8")
    if arguments.prices is None:
        differences = list(compare(yaml.safe_load(text)))
        print("\n".join(differences) or "instances.yaml agrees with botocore")
        return int(bool(differences))
    region = yaml.safe_load(text)["price_region"]
    products = ask_aws(region) if arguments.prices == "aws" else read_offer(Path(arguments.prices))
    refreshed = with_prices(text, dict(hosting_prices(products)), datetime.now(UTC).date().isoformat())
    DATA.write_text(refreshed, encoding="utf-8")
    return 0


def compare(content: Mapping[str, Any]) -> Iterator[str]:
    """What AWS hosts and the catalogue lacks, what it has too many, and what it says wrongly of batch transform."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    hosted = {name for name in model.shape_for("ProductionVariantInstanceType").enum if ACCELERATED.match(name)}
    batch = set(model.shape_for("TransformInstanceType").enum)
    ours = set(content["instances"])
    for name in sorted(hosted - ours):
        if name.removeprefix("ml.").partition(".")[0] not in LEFT_OUT_FAMILIES:
            yield f"missing: {name}"
    for name in sorted(ours - hosted):
        yield f"cannot host any more: {name}"
    for name in sorted(ours):
        said = content["families"][content["instances"][name]["family"]]["batch_transform"]
        if said != (name in batch):
            yield f"batch_transform of {name} is {not said}"


def read_offer(path: Path) -> Iterator[Mapping[str, Any]]:
    """The products of a saved offer file, each with its terms, in the shape of GetProducts."""
    offer = json.loads(path.read_text(encoding="utf-8"))
    terms = offer["terms"]["OnDemand"]
    for sku, product in offer["products"].items():
        yield {"product": product, "terms": {"OnDemand": terms.get(sku, {})}}


def ask_aws(region: str) -> Iterator[Mapping[str, Any]]:
    """The products of a region from the Price List API."""
    import boto3  # noqa: PLC0415 - the other ways need no AWS

    pages = boto3.client("pricing", region_name="us-east-1").get_paginator("get_products")
    filters = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    for page in pages.paginate(ServiceCode="AmazonSageMaker", Filters=filters):
        yield from (json.loads(product) for product in page["PriceList"])


def hosting_prices(products: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Instance type and dollars an hour of every product of real-time hosting."""
    for item in products:
        attributes = item["product"]["attributes"]
        if attributes.get("component", "").lower() == "hosting" and "instanceName" in attributes:
            for term in item["terms"]["OnDemand"].values():
                for dimension in term["priceDimensions"].values():
                    yield attributes["instanceName"], float(dimension["pricePerUnit"]["USD"])


def with_prices(text: str, prices: Mapping[str, float], date: str) -> str:
    """The data file's text with new prices; comments and everything else stay."""
    lines = []
    for line in text.splitlines():
        row = ROW.match(line)
        if row and row["name"] in prices:
            new = f"  {row['name']}: {{{row['facts']}, usd_per_hour: {prices[row['name']]:g}, price: {SOURCE}}}"
            lines.append(new)
        elif not line.startswith(f"  {SOURCE}: "):
            lines.append(line)
        if line == "price_sources:":
            source = f'status: published, as_of: "{date[:7]}", text: "AWS Price List, SageMaker hosting, {date}"'
            lines.append(f"  {SOURCE}: {{{source}}}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
