"""CloudFormation stacks: reading them (`stacks`), change sets as plans (`changes`), events as steps (`events`)."""
