"""AWS SageMaker: the strategy that writes the resource list, and a manager for each kind of resource."""
