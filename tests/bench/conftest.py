"""The peers' own servers are run in environments of their own; nothing of them is imported here."""

collect_ignore_glob = ["peers/*/*.py"]
