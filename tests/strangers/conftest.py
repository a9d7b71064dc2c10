"""The strangers' programs run in environments of their own; nothing of them is imported here."""

collect_ignore_glob = ["*/*.py", "__main__.py"]
