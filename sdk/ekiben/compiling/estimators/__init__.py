"""Fitted estimators as the last nodes of a plan, a module for each family."""
