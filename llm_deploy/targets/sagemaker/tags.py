"""The one reader of tags, on which ownership rests."""

from __future__ import annotations

from llm_deploy.aws import Session, aws_errors
from llm_deploy.resource import tag_map


def tags_of(session: Session, arn: str) -> dict[str, str]:
    """Every tag of a SageMaker object, over all pages.

    Raises:
        NotFoundError: There is no such object.
        AccessDeniedError: The caller may not read this object's tags.
    """
    with aws_errors(f"read the tags of {arn}"):
        pages = session.client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
        return tag_map(tag for page in pages for tag in page["Tags"])
