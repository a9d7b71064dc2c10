"""What must not be in an image, and how each is known by bytes."""

from __future__ import annotations

from ekiben.containers.leaks.files import N_LINES
from ekiben.containers.leaks.forms import rule
from ekiben.containers.leaks.keys import KEYS
from ekiben.containers.leaks.logins import LOGINS
from ekiben.containers.leaks.settings import SETTINGS

# A path begins where no name stands before it, or but the letter that pickle and marshal write as its length.
_ROOT = r"(?:(?<![\w.)}*-])|(?<=[zZ\x8c\xda\xfa]\w))"
# Of file systems that many machines share, and of those that build.
_BEFORE_HOME = (
    r"(?:(?<=\.\.)|(?<=/Workspace)|(?<=/export)|(?<=/data)|(?<=/nfs)|(?<=/net)|(?<=/srv)|(?<=/gpfs)|(?<=/lustre)"
    r"|(?<=/var)|(?<=/usr)|(?<=/System/Volumes/Data)|(?<=/cygdrive/[A-Za-z])|(?<=^/[A-Za-z])|(?<=[\s\"'=:]/[A-Za-z]))"
)
_CELL = r"(?:[\w.+-]{1,40}|\"(?:[^\"\\\n]|\\.){0,200}\")"  # a number or text of JSON
_PRIVATE = r"(?:internal|local|corp|lan|intranet|intra|localdomain|home\.arpa)"

PLACES = (
    rule(
        "the address of a package index",
        "index find-links find_links trusted-host trusted_host",
        r"(?i)(?:--|pip_|uv_|^|[\s\"'=\[])(?:(?:extra[-_]|default[-_])?index[\"']?\s*(?:=|:|\s)\s*[\"']?https?://|(?:(?:extra[-_]|default[-_])?index[-_]url|find[-_]links|trusted[-_]host)[\"']?\s*(?:=|:|\s)\s*[\"']?(?:https?://|[\w.-]+\.[a-z]{2,}))",
        mild=True,
    ),
    rule("the address of a package index", "-i -f", r"(?:(?:^|\s)-i|^-f)\s+https?://\S+", mild=True),
    rule(
        "the address of a package index",
        "registry goproxy",
        r"(?i)^(?:@[\w-]+:)?(?:registry|goproxy)\s*=\s*[\"']?https?://(?!registry\.npmjs\.org|proxy\.golang\.org)\S+",
        mild=True,
    ),
    rule(
        "the address of a package index",
        "channels",
        r"^channels:\s*(?:\n\s*-\s*[\w.-]+)*\n\s*-\s*https?://(?!(?:conda|repo)\.anaconda\.)\S+",
        mild=True,
    ),
    rule(
        "the address of a package index",
        "/simple",
        r"https?://(?!(?:[\w-]+\.)*(?:pypi|pythonhosted)\.org)[^\s\"'<>]{1,300}/simple/?(?=[\"'\s]|$)",
        mild=True,
    ),
    rule(
        "the address of a package index",
        "[[",
        r"^\[\[(?:tool\.(?:uv|poetry|pdm|pixi)\.)?(?:index|source)\]\]",
        mild=True,
    ),
    rule("the address of a package index", "repository", r"(?i)^\s*repository\s*[:=]\s*https?://\S+", mild=True),
    rule("a git remote", "git@ ssh://", r"(?:git@[\w.-]+:[\w.~-]+/|ssh://(?:[\w-]+@)?[\w.-]+)", mild=True),
    rule("a git remote", "[remote [submodule", r"\[(?:remote|submodule) \\?\"[^\"\\]+\\?\"\]", mild=True),
    rule(
        "a path of a machine",
        "/home/ /users/ /homes/",
        rf"(?:{_ROOT}|{_BEFORE_HOME})/(?:homes?|Users|users)/(?!bentoml\b|\$|<|\{{)[A-Za-z0-9_][\w.@-]*(?:/|$|[\"'\s])",
        mild=True,
    ),
    rule(
        "a path of a machine",
        "root/ /var/folders/",
        rf"{_ROOT}/(?:root/(?!\.cache\b|\.local/bin)|(?:private/)?var/folders/)[\w.]",
        mild=True,
    ),
    rule(
        "a path of a machine",
        "/mnt/ /dbfs/ /workspace /jenkins/ /builds/ /github/ /content/drive /scratch/ /media/ /volumes/ /envs/ /__w/ /_work/ /codebuild/ /pipelines/ /kaggle/ /lustre/ /gpfs/ /tmp/tmp",
        r"(?<![\w.)}*:/-])/(?:mnt|dbfs|Volumes|opt/\w*conda\d?(?=/envs)|workspaces?|var/lib/jenkins|builds|github/workspace|content/drive|scratch|media|__w|(?:azp|agent|opt/\w+)/_work|codebuild/output|opt/atlassian/pipelines/agent|kaggle/(?:input|working)|lustre|gpfs|tmp/tmp(?=[a-z0-9_]{8}/))/?[\w.-]+/[\w.-]",
        mild=True,
    ),
    rule(
        "the name of a machine",
        "ssh-rsa ssh-ed25519 ecdsa-sha2",
        r"(?:ssh-(?:rsa|ed25519)|ecdsa-sha2-\S+) AAAA[\w+/=]{40,} \S+@\S+|^(?:(?:\|1\||\[)\S*|[\w-]+(?:\.[\w-]+)*(?:,\S*)?) (?:ssh-(?:rsa|ed25519)|ecdsa-sha2-\S+) AAAA",
        mild=True,
    ),
    rule(
        "a path of a machine",
        ":\\",
        r"(?<![A-Za-z])[A-Za-z]:\\{1,2}(?:Users|users|Documents and Settings|projects|repos|src|work|workspace|Jenkins|agent|a)\\{1,2}\w",
        mild=True,
    ),
    rule(
        "a path of a machine",
        "\\\\",
        r"(?<![\\\w.])(?:\\\\|\\\\\\\\)[A-Za-z][\w-]{2,}\$?\\{1,2}[A-Za-z][\w-]+\$?\\{1,2}\w",
        mild=True,
    ),
    rule("a private address", "//[fc //[fd", r"(?i)//\[f[cd][0-9a-f]{2}:[0-9a-f:]+\]", mild=True),
    rule(
        "a private address",
        "100.",
        r"(?<![\w.])100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])(?:\.\d{1,3}){2}(?![\w.])",
        mild=True,
    ),
    rule(
        "a private address",
        "10. 192.168. 172.",
        r"(?<![\w.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\w.])",
        mild=True,
    ),
    rule(
        "the name of a private host",
        ".internal .local .corp .lan .intra .home.arpa",
        rf"(?i)(?:://|@)(?!host\.docker\.)(?:[\w%.-]+@)?[\w-]+(?:\.[\w-]+)*\.{_PRIVATE}(?![\w-])",
        mild=True,
    ),
    rule(
        "the name of a private host",
        "host server endpoint",
        rf"(?i)(?:host(?:_?name)?|server|endpoint)[\"']?\s*[=:]\s*[\"']?(?!host\.docker\.)[a-z0-9][\w-]*(?:\.[\w-]+)*\.{_PRIVATE}(?![\w.(-])",
        mild=True,
    ),
    rule(
        "the name of a private host",
        ".internal .svc.cluster",
        r"(?<![\w.-])(?:ip-\d+(?:-\d+){3}\.[\w.-]*internal|[a-z0-9-]+(?:\.[a-z0-9-]+)+\.svc\.cluster\.local)(?![\w-])",
        mild=True,
    ),
    rule(
        "the name of a private host",
        ".internal: .corp: .lan: .intranet: .localdomain:",
        r"(?i)(?<![\w.-])(?!host\.docker\.)[\w-]+(?:\.[\w-]+)*\.(?:internal|corp|lan|intranet|localdomain):\d{2,5}(?!\d)",
        mild=True,
    ),
    rule("a git repository", "ref: refs/", r"\Aref: refs/\S+\s*\Z", mild=True),
    rule("a git repository", "pack-refs", r"\A# pack-refs with:", mild=True),
    rule("a file of logins", "identityfile", r"(?i)^\s*IdentityFile\s+\S", mild=True),
    rule("a file of secrets", '"lineage"', r"\"terraform_version\"[\s\S]{0,300}\"lineage\"", mild=True),
    rule("a data file", "{", r"\A\s*\[\s*(?:\{\s*\"[^{}\[\]]{1,2000}\}\s*,\s*){50}", mild=True),
    # What pandas writes of a frame: its columns, each with rows by their numbers, its index, its rows, or with what it is.
    rule(
        "a data file",
        '"0":',
        rf'\}}\s*,\s*"[^"\n]{{1,100}}"\s*:\s*\{{(?:\s*"\d+"\s*:\s*{_CELL},){{{N_LINES}}}',
        mild=True,
    ),
    rule("a data file", '"index":', rf'\]\s*,\s*"index"\s*:\s*\[(?:\s*{_CELL},){{{N_LINES}}}', mild=True),
    rule("a data file", '":{"', r'(?:"[^"\n]{1,100}"\s*:\s*\{"[^{}]{1,2000}\}\s*,\s*){50}', mild=True),
    rule("a data file", "pandas_version", r'"pandas_version"\s*:\s*"[\d.]+"\s*\}\s*,\s*"data"', mild=True),
    rule("a data file", "{' {\"", r"=\s*\[\s*(?:\{[\"'][^{}\[\]]{1,2000}\}\s*,\s*){50}", mild=True),
    rule("a data file", "dump", r"^-- (?:PostgreSQL database|MySQL|MariaDB|SQLite) dump", mild=True),
    rule("a data file", "copy", r"^COPY [\w.\"]+ ?\([^()\n]+\) FROM stdin;", mild=True),
    rule("a data file", "insert", r"(?i)(?:^INSERT INTO [^\n]{1,2000}\n){10}", mild=True),
    rule("a data file", "par1\x15", r"PAR1\x15[\x00-\x10]\x15", mild=True),
    rule("a data file", "sqlite", r"SQLite format 3\x00", mild=True),
    rule("a data file", '{"', r"(?:^\{\"[^\n]{1,2000}\}[ \t]*\r?\n){50}", mild=True),
    rule("a data file", "@attribute", r"(?i)^@attribute\s[\s\S]{0,900}^@data\s*$", mild=True),
    rule("a data file", "featurecollection", r"\"type\"\s*:\s*\"FeatureCollection\"", mild=True),
    rule("a data file", "begin:vcard", r"^BEGIN:VCARD\r?$", mild=True),
    rule("a data file", "from", r"\AFrom \S+@\S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ", mild=True),
    rule("a data file", "@", r"(?:^[\w.+-]+@[\w-]+(?:\.[\w-]+)+[ \t,;]*\r?\n){20}", mild=True),
    rule(
        "a data file",
        "pandas.core. polars.data pyarrow.lib",
        r"\A\x80[\x02-\x05][\s\S]{0,60}(?:pandas\.core\.(?:frame|series)|polars\.(?:data)?frame|polars\.dataframe|pyarrow\.lib)",
        mild=True,
    ),
    rule(
        "a notebook",
        "jp- output_area",
        r"class=\\?[\"'][^\"'<>]{0,200}\b(?:jp-(?:Cell|OutputArea|Notebook)|output_area)\b",
        mild=True,
    ),
    rule(
        "a notebook",
        "nbformat cell_type",
        r"\"nbformat\"\s*:\s*\d[\s\S]{0,400}|\"cell_type\"\s*:\s*\"code\"",
        mild=True,
    ),
)

RULES = KEYS + LOGINS + SETTINGS + PLACES
SURE = tuple(rule for rule in RULES if not rule.mild)  # those that a library is asked of too
