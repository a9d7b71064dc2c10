"""Packages of Debian are read from a base wherever they are listed, with their licences as far as a program can tell."""

import io
import re
import tarfile

import pytest

from ekiben.containers import copyrights, debian
from ekiben.containers.debian import Debian
from ekiben.containers.gating import gate
from ekiben.errors import BuildError

DEP_5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


@pytest.fixture
def root(tmp_path):
    """The root of a base: one list of all, lists of single packages, and documents that are links."""
    root = tmp_path / "root"
    lists = root / "var" / "lib" / "dpkg" / "status.d"
    lists.mkdir(parents=True)
    (lists / "tzdata").write_text("Package: tzdata\nVersion: 2026a\nArchitecture: all\nSection: localization\n")
    (lists / "tzdata.md5sums").write_text("0 file\n")
    (lists.parent / "status").write_text(
        "Package: libgcc-s1\nVersion: 12.2\nArchitecture: amd64\nSource: gcc-12\nStatus: install ok installed\n\n"
        "Package: gone\nVersion: 1\nArchitecture: amd64\nStatus: deinstall ok config-files\n"
    )
    doc = root / "usr" / "share" / "doc"
    (doc / "gcc-12-base").mkdir(parents=True)
    (doc / "gcc-12-base" / "copyright").write_text(f"{DEP_5}\nFiles: *\nLicense: GPL-3+ with GCC exception\n")
    (doc / "libgcc-s1").symlink_to("gcc-12-base")
    (doc / "tzdata").mkdir()
    (doc / "tzdata" / "copyright").write_text(f"{DEP_5}\nFiles: *\nLicense: public-domain\n")
    return root


def test_debian_is_read_from_a_folder_and_a_tar_and_from_slim_images(root, tmp_path):
    with tarfile.open(tmp_path / "base.tar", "w") as packed:
        packed.add(root, ".")
    found = debian.installed_in(root)
    assert found == debian.installed_in(tmp_path / "base.tar")
    assert [(each.name, each.version, each.source) for each in found] == [
        ("libgcc-s1", "12.2", "gcc-12"),
        ("tzdata", "2026a", "tzdata"),
    ]
    told = [(each.licence.expression, each.licence.family, each.licence.source) for each in found]
    assert told == [
        ("GPL-3.0-or-later WITH GCC-exception-3.1", "weak copyleft", "copyright"),
        ("LicenseRef-Debian-public-domain", "permissive", "copyright"),
    ]
    assert told == [
        (each.licence.expression, each.licence.family, each.licence.source)
        for each in debian.installed_in(tmp_path / "base.tar")
    ]


def test_a_link_that_leads_in_a_circle_or_nowhere_tells_no_licence(root):
    doc = root / "usr" / "share" / "doc"
    (doc / "libgcc-s1").unlink()
    (doc / "libgcc-s1").symlink_to("libgcc-s1")
    (doc / "tzdata" / "copyright").unlink()
    assert {each.licence.expression for each in debian.installed_in(root)} == {None}
    assert all(each.licence.passes for each in debian.installed_in(root))


@pytest.mark.parametrize(
    ("text", "expression", "source"),
    [
        (f"{DEP_5}License: MIT\n\nFiles: *\nLicense: Expat\n", "MIT", "copyright"),
        (f"{DEP_5}\nFiles: *\nLicense: GPL-2\n\nLicense: GPL-2\n the text\n", "GPL-2.0-only", "copyright"),
        (
            f"{DEP_5}\nFiles: a\nLicense: LGPL-2.1+\n\nFiles: b\nLicense: zlib\n",
            "LGPL-2.1-or-later AND Zlib",
            "copyright",
        ),
        (
            f"{DEP_5}\nFiles: *\nLicense: Artistic or GPL-1+\n\nFiles: b\nLicense: Apache-2.0\n",
            "(Artistic-1.0-Perl OR GPL-1.0-or-later) AND Apache-2.0",
            "copyright",
        ),
        (f"{DEP_5}\nFiles: *\nLicense: GFDL-NIV-1.3+\n", "GFDL-1.3-or-later", "copyright"),
        (
            f"{DEP_5}\nFiles: *\nLicense: GPL-2+-autoconf-exception\n",
            "GPL-2.0-or-later WITH Autoconf-exception-generic",
            "copyright",
        ),
        (f"{DEP_5}\nFiles: *\nLicense: our (own) words\n", "LicenseRef-Debian-our-own-words", "copyright"),
        (f"{DEP_5}\nFiles: *\nCopyright: us\n", None, "nowhere"),
        ("See /usr/share/common-licenses/GPL-2.", None, "nowhere"),
        ("Licensed under the Business Source License 1.1", "BUSL-1.1", "text"),
    ],
)
def test_a_copyright_is_read_where_it_is_for_programs(text, expression, source):
    assert copyrights.expression(text) == (expression, source)


def test_of_debian_only_what_forbids_is_refused_and_may_be_allowed_with_a_reason():
    told = {"architecture": "amd64", "source": "a"}
    free = Debian(name="bash", version="5", copyright=f"{DEP_5}\nFiles: *\nLicense: GPL-3+\n", **told)
    silent = Debian(name="krb5", version="1", **told)
    forbids = Debian(name="nvidia-driver", version="535", section="non-free/libs", **told)
    bought = Debian(name="db", version="1", copyright="Server Side Public License", **told)
    assert [each.family for each in gate([], base=[free.licence, silent.licence])] == ["copyleft", "unknown"]
    with pytest.raises(BuildError, match=re.escape("Got db 1 (SSPL-1.0: source-available); nvidia-driver 535")):
        gate([], base=[each.licence for each in (free, forbids, bought)])
    allowed = gate([], base=[forbids.licence], allow={"nvidia-driver": "bought, contract 17"})
    assert allowed[0].to_json()["allowed"] == "bought, contract 17"


def test_a_list_of_packages_that_is_not_utf_8_is_read(tmp_path):
    made = io.BytesIO()
    text = "Package: tzdata\nVersion: 2026a\nMaintainer: Zoë\n".encode("latin-1")
    with tarfile.open(fileobj=made, mode="w") as packed:
        info = tarfile.TarInfo("var/lib/dpkg/status")
        info.size = len(text)
        packed.addfile(info, io.BytesIO(text))
    made.seek(0)
    assert [each.version for each in debian.installed(debian._lists(made).values())] == ["2026a"]
