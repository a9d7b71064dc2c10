"""Every licence is read where it is told, and only those pass that let a service serve."""

import importlib.metadata
import re
import zipfile
from pathlib import Path

import pytest

from ekiben import distributions
from ekiben.containers import licences
from ekiben.containers.gating import gate
from ekiben.errors import BuildError, SpecError

MIT = "Permission is hereby granted, free of charge, to any person"
GREATER = "Redistribution and use in source and binary forms, with or without… Neither the name"


def wheel(folder, name, version="1.0", *, told=(), files=None):
    made = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr(
            f"{info}/METADATA", "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *told, ""])
        )
        for file, text in (files or {}).items():
            packed.writestr(f"{info}/{file}", text)
    return made


@pytest.mark.parametrize(
    ("told", "files", "expression", "family", "source"),
    [
        (["License-Expression: MIT"], {}, "MIT", "permissive", "expression"),
        (
            ["License-Expression: Apache-2.0 OR GPL-3.0-only"],
            {},
            "Apache-2.0 OR GPL-3.0-only",
            "permissive",
            "expression",
        ),
        (["License-Expression: MIT AND GPL-3.0-only"], {}, "MIT AND GPL-3.0-only", "copyleft", "expression"),
        (["License-Expression: GPL-3.0-only WITH GCC-exception-3.1"], {}, None, "weak copyleft", "expression"),
        (["License-Expression: LGPL-2.1-or-later"], {}, None, "weak copyleft", "expression"),
        (["License-Expression: BUSL-1.1"], {}, None, "source-available", "expression"),
        (["License-Expression: LicenseRef-Proprietary"], {}, None, "source-available", "expression"),
        (["License-Expression: LicenseRef-Ours"], {}, None, "unknown", "expression"),
        (["License-Expression: Apache-2.0 WITH Commons-Clause"], {}, None, "unknown", "expression"),
        (["License-Expression: Apache-2.0 WITH LLVM-exception"], {}, None, "permissive", "expression"),
        (
            ["License-Expression: LGPL-3.0-only WITH LGPL-3.0-linking-exception"],
            {},
            None,
            "weak copyleft",
            "expression",
        ),
        (["License: Proprietary"], {"LICENSE": MIT}, "LicenseRef-Proprietary", "source-available", "field"),
        (["Classifier: License :: Other/Proprietary License"], {"LICENSE": MIT}, None, "source-available", "field"),
        (["Classifier: Private :: Do Not Upload", "License: MIT"], {}, None, "source-available", "field"),
        (["License: Apache-2.0"], {"LICENSE": "BUSINESS SOURCE LICENSE 1.1"}, "BUSL-1.1", "source-available", "file"),
        (["License: MIT"], {"LICENSE": "Business Source License\nVersion 1.1"}, "BUSL-1.1", "source-available", "file"),
        (
            ["License: Apache-2.0"],
            {"LICENSE": "“Commons Clause” License Condition v1.0"},
            None,
            "source-available",
            "file",
        ),
        ([], {"LICENSE": f"Functional Source License, Version 1.1\n{MIT}"}, None, "source-available", "file"),
        (["License: MIT"], {"LICENSE": "PolyForm Shield License 1.0.0"}, None, "source-available", "file"),
        (["License: Copyright (c) 2014, Ann. All rights reserved."], {"LICENSE": MIT}, "MIT", "permissive", "file"),
        (["License: All rights reserved."], {"LICENSE": MIT}, None, "source-available", "field"),
        (
            ["License: MIT"],
            {"LICENSE": "Attribution-NonCommercial 4.0 International"},
            None,
            "source-available",
            "file",
        ),
        (["License-Expression: MIT OR"], {}, None, "unknown", "expression"),
        (["License: Apache 2.0"], {}, "Apache-2.0", "permissive", "field"),
        (["License: Business Source License 1.1"], {}, "BUSL-1.1", "source-available", "field"),
        (["Classifier: License :: OSI Approved :: BSD License"], {}, "BSD-3-Clause", "permissive", "classifier"),
        (
            [
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            ],
            {},
            "GPL-3.0-only AND MIT",
            "copyleft",
            "classifier",
        ),
        ([], {"licenses/LICENSE": GREATER}, "BSD-3-Clause", "permissive", "file"),
        ([], {"LICENSE.txt": "GNU AFFERO GENERAL PUBLIC LICENSE\n  Version 3"}, "AGPL-3.0-only", "copyleft", "file"),
        (["License: MIT"], {"LICENSE": "Business Source License 1.1\n"}, "BUSL-1.1", "source-available", "file"),
        (
            ["License-Expression: MIT"],
            {"LICENSE": "Server Side Public License"},
            "SSPL-1.0",
            "source-available",
            "file",
        ),
        (["License: see our site"], {}, None, "unknown", "nowhere"),
        ([], {}, None, "unknown", "nowhere"),
    ],
)
def test_a_licence_is_read_where_it_is_told(tmp_path, told, files, expression, family, source):
    found = licences.of_wheel(wheel(tmp_path, "some-thing", told=told, files=files))
    assert (found.name, found.version, found.family, found.source) == ("some-thing", "1.0", family, source)
    assert expression is None or found.expression == expression
    assert found.passes is (family in ("permissive", "weak copyleft"))


def test_the_gate_names_every_one_that_it_refuses(tmp_path):
    every = [
        wheel(tmp_path, "fine", told=["License-Expression: MIT"]),
        wheel(tmp_path, "alibi", "0.9.6", told=["License: Business Source License 1.1"]),
        wheel(tmp_path, "nobody-knows"),
    ]
    with pytest.raises(BuildError) as refused:
        gate(every)
    assert "alibi 0.9.6 (BUSL-1.1: source-available); nobody-knows 1.0 (no licence known: unknown)" in str(
        refused.value
    )
    assert "fine" not in str(refused.value)


def test_what_is_allowed_by_name_needs_a_reason_and_passes_with_it(tmp_path):
    every = [wheel(tmp_path, "Some.Thing")]
    (passed,) = gate(every, allow={"some-thing": "ours, contract 17"})
    assert passed.passes
    assert passed.to_json()["allowed"] == "ours, contract 17"
    with pytest.raises(SpecError, match="with a reason"):
        gate(every, allow={"some-thing": ""})
    with pytest.raises(SpecError, match=re.escape("must be in the image. other is not")):
        gate(every, allow={"some-thing": "ours", "other": "gone"})


def test_a_wheel_without_metadata_is_refused(tmp_path):
    made = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("a.py", "")
    with pytest.raises(BuildError, match="must hold METADATA"):
        licences.of_wheel(made)


def test_everything_that_a_service_brings_passes_as_its_own_metadata_says():
    refused = []
    for name, found in distributions.closure(["scikit-learn", "skops", "xgboost", "onnxruntime", "pyarrow"]).items():
        files = [
            file
            for file in found.files or ()
            if ".dist-info/" in str(file) and re.search("licen|copying", str(file), re.IGNORECASE)
        ]
        texts = [
            Path(str(file.locate())).read_text(errors="replace") for file in files if Path(str(file.locate())).is_file()
        ]
        told = licences.of_metadata(found.read_text("METADATA"), texts)
        if not told.passes:
            refused.append(f"{name}: {told}")
    assert refused == []


def test_alibi_passes_at_the_one_version_that_is_open():
    found = importlib.metadata.distribution("alibi")
    assert licences.of_metadata(found.read_text("METADATA")).passes


def test_what_a_spec_allows_need_not_be_in_each_image_and_the_argument_counts_more(tmp_path):
    every = [wheel(tmp_path, "Some.Thing")]
    (passed,) = gate(every, may={"some-thing": "ours", "alibi": "bought, contract 17"})
    assert passed.allowed == "ours"
    (passed,) = gate(every, may={"some-thing": "ours"}, allow={"Some_Thing": "ours, contract 18"})
    assert passed.allowed == "ours, contract 18"
    (passed,) = gate([wheel(tmp_path, "fine", told=["License-Expression: MIT"])], may={"fine": "needless"})
    assert passed.allowed is None
