"""Verdicts out: the published alert, the policy, the store with its outbox, Kafka and the console."""
