"""What must not be in an image, and how each is known by bytes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BEFORE, AFTER = 128, 1024  # bytes around an anchor that a pattern may need
KEY_BITS, HEX_BITS = 4.0, 3.0  # entropy of a letter of what looks like a key
_HEX = re.compile(rb"[0-9a-fA-F]+")
_KEYS = re.compile(rb"key|sign|salt|pepper|hmac|cipher|crypt|auth|hook|seed")
_DIGESTS = re.compile(
    rb"sha|digest|hash|md5|crc|checksum|etag|commit|revision|version|uuid|guid|\bid\b|_id$|fingerprint|serial|model|data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of leak in bytes: texts of which one must be there, in lower case, and the pattern that then decides.

    A `mild` rule knows what a public library may hold as well, such as an example's address; it is asked of the user's
    own files alone. Where a pattern alone cannot decide, `check` does by its groups.
    """

    kind: str
    anchors: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    mild: bool = False
    check: Callable[[re.Match[bytes]], bool] | None = None

    def finds(self, data: bytes, lowered: bytes) -> bool:
        """Tell whether the bytes hold what must not be there; only around the anchors is the pattern tried."""
        if not any(anchor in lowered for anchor in self.anchors):
            return False
        for start, end in self._windows(lowered):
            for match in self.pattern.finditer(data, start, end):
                if self.check is None or self.check(match):
                    return True
        return False

    def _windows(self, lowered: bytes) -> Iterator[tuple[int, int]]:
        for anchor in self.anchors:
            at = lowered.find(anchor)
            while at >= 0:
                start, end = max(0, at - BEFORE), at + AFTER
                while (at := lowered.find(anchor, at + 1)) >= 0 and at < end:
                    end = at + AFTER
                yield start, end


def _rule(
    kind: str,
    anchors: str,
    pattern: str,
    *,
    mild: bool = False,
    check: Callable[[re.Match[bytes]], bool] | None = None,
) -> Rule:
    compiled = re.compile(pattern.encode("latin-1"), re.MULTILINE)
    return Rule(
        kind=kind, anchors=tuple(anchors.encode("latin-1").split(b" ")), pattern=compiled, mild=mild, check=check
    )


def is_random(match: re.Match[bytes]) -> bool:
    """Tell whether a value that has a name looks like a key: letters and digits without order, and no digest or identifier."""
    name, value = match["name"].lower(), match["value"]
    if _DIGESTS.search(name):
        return False
    if _HEX.fullmatch(value):  # as digests are too: the name must say what it is
        return _KEYS.search(name) is not None and _bits(value.lower()) > HEX_BITS
    kinds = sum(re.search(kind, value) is not None for kind in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    return kinds == 3 and _bits(value) > KEY_BITS


def _bits(value: bytes) -> float:
    """Measure Shannon's entropy of a letter, in bits."""
    n = len(value)
    return -sum(count / n * math.log2(count / n) for count in Counter(value).values())


# The line's end as it is, or as JSON and source code write it.
_END = r"(?:\\[rn]|[\r\n])+"
_BODY = rf"(?:[\w-]+: [^\r\n\\]+{_END})*(?:[A-Za-z0-9+/=]|{_END}){{20}}"
# A text begins where no letter stands before it, or but the one that pickle and marshal write as its length.
OPEN = r"(?:(?<![A-Za-z0-9_.-])|(?<=[zZ\x8c\xda\xfa][A-Za-z0-9_.-]))"
_SHUT = r"(?![A-Za-z0-9_])"
_WORDS = "(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|credentials?|private[_-]?key|account[_-]?key)"
# What documents of libraries write where a password would stand.
_EXAMPLES = r"(?i:(?:my_?)?pass(?:word|wd)?|pwd|pw|secret|a%20secret|token|repo|redacted|p|x+|\*+)@"
_USER = r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@'\"<>{}$\[\](),;|\\`]{0,80}:"
# No control character, and three letters at least: two may be how marshal begins the next text.
_AFTER = r"[^\s/:@'\"<>{}$\[\]()|\\`*\x00-\x1f]{3,120}@[A-Za-z0-9\[]"

# How a private key of RSA or of an elliptic curve begins where it is bytes: PKCS#8 with its version and algorithm.
_PKCS8 = (
    r"\x30[\x81\x82][\s\S]{1,2}\x02\x01\x00\x30[\s\S]"
    r"(?:\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04|\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06[\s\S]{6,11}\x04)"
)

SECRETS = (
    _rule("a private key", "private", rf"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----{_END}{_BODY}"),
    _rule("a private key", "putty-user-key-file", r"PuTTY-User-Key-File-\d: \S"),
    _rule("a private key", "age-secret-key-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _rule("a private key", "encrypted", r"(?:minisign|signify|rsign) encrypted secret key", mild=True),
    _rule("a private key", "openssh-key-v1", r"openssh-key-v1\x00", mild=True),
    _rule("a private key", '"kty"', r'"d"\s*:\s*"[A-Za-z0-9_-]{20,}"', mild=True),
    _rule("a key of AWS", "akia asia", rf"{OPEN}(?:AKIA|ASIA)[A-Z0-9]{{16}}{_SHUT}"),
    _rule(
        "a key of AWS",
        "aws_se aws_ses secretaccesskey",
        r"(?i)aws_?(?:secret_?access_?key|session_?token)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+=]{40}|SecretAccessKey\"\s*:\s*\"[A-Za-z0-9/+=]{40}\"",
    ),
    _rule("a key of Google", "aiza", rf"{OPEN}AIza[0-9A-Za-z_-]{{35}}(?![\w-])"),
    _rule("a key of Google", "gocspx- ya29.", rf"{OPEN}(?:GOCSPX-[\w-]{{28}}|ya29\.[\w-]{{20,}})"),
    _rule("a key of Azure", "accountkey= sharedaccesskey=", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}"),
    _rule("a key of Azure", "sig=", r"[?&]sig=[A-Za-z0-9%+/]{43,}"),
    _rule("a key of Azure", "8q~", r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{34}(?![\w~.-])"),
    _rule(
        "a token of GitHub",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        rf"{OPEN}(?:gh[pousr]_[A-Za-z0-9]{{36,}}|github_pat_\w{{22,}})",
    ),
    _rule("a token of GitLab", "glpat- gldt- glrt- glptt-", rf"{OPEN}gl(?:pat|dt|rt|ptt)-[\w-]{{20,}}"),
    _rule("a token of Slack", "xox", rf"{OPEN}xox[abeprs]-[0-9A-Za-z-]{{10,}}"),
    _rule(
        "a token of Slack", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]\w+/\w+/\w+"
    ),
    _rule("a token of Hugging Face", "hf_", rf"{OPEN}hf_[A-Za-z0-9]{{30,}}{_SHUT}"),
    _rule(
        "a token of a package index", "pypi-age npm_", rf"{OPEN}(?:pypi-AgE[\w-]{{50,}}|npm_[A-Za-z0-9]{{36}}{_SHUT})"
    ),
    _rule("a token of Docker", "dckr_pat_ dckr_oat_", rf"{OPEN}dckr_[op]at_[\w-]{{20,}}"),
    _rule("a token of Databricks", "dapi", rf"{OPEN}dapi[0-9a-f]{{32}}"),
    _rule("a token of Vault", "hvs. hvb. hvr.", rf"{OPEN}hv[sbr]\.[\w-]{{24,}}"),
    _rule("a token of DigitalOcean", "_v1_", rf"{OPEN}do[opr]_v1_[0-9a-f]{{64}}"),
    _rule("a token of Grafana", "glsa_ glc_", rf"{OPEN}gl(?:sa|c)_[\w+/=]{{32,}}"),
    _rule("a token of Terraform", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}"),
    _rule("a key of Stripe", "_live_ _test_", rf"{OPEN}[srp]k_(?:live|test)_[A-Za-z0-9]{{16,}}"),
    _rule("a key of SendGrid", "sg.", rf"{OPEN}SG\.[\w-]{{22}}\.[\w-]{{43}}"),
    _rule(
        "a key of a model provider",
        "sk-",
        rf"{OPEN}sk-(?:(?:proj|svcacct|admin|ant)-[\w-]{{20,}}|[A-Za-z0-9]{{32,}}){_SHUT}",
    ),
    _rule("a key of New Relic", "nrak-", rf"{OPEN}NRAK-[A-Z0-9]{{27}}"),
    _rule("a token of Telegram", ":aa", rf"{OPEN}\d{{8,10}}:AA[\w-]{{33}}(?![\w-])"),
    _rule("a key of a service", "ek_", rf"{OPEN}ek_[A-Za-z0-9_-]{{43}}(?![\w-])"),
    _rule("a token of Slack", "xapp-", rf"{OPEN}xapp-\d-[A-Z0-9]+-\d+-[0-9a-f]{{40,}}"),
    _rule("the address of a webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}"),
    _rule(
        "the address of a webhook",
        "webhook.office.com",
        r"webhook\.office\.com/webhookb2/[\w@-]{30,}/IncomingWebhook/\w{20,}",
    ),
    _rule("a token of GitLab", "glcbt-", rf"{OPEN}glcbt-[\w-]{{20,}}"),
    _rule("a token of Shopify", "shpat_ shpss_ shpca_", rf"{OPEN}shp(?:at|ss|ca)_[0-9a-fA-F]{{32}}"),
    _rule("a key of Square", "sq0", rf"{OPEN}sq0[a-z]{{3}}-[\w-]{{22,}}"),
    _rule("a token of Doppler", "dp.pt. dp.st. dp.ct. dp.sa.", rf"{OPEN}dp\.(?:pt|st|ct|sa)\.[\w.-]{{40,}}"),
    _rule("a key of Linear", "lin_api_", rf"{OPEN}lin_api_[A-Za-z0-9]{{32,}}"),
    _rule("a token of Atlassian", "atatt3 atctt3", rf"{OPEN}AT[AC]TT3[\w=-]{{60,}}"),
    _rule("a token of Pulumi", "pul-", rf"{OPEN}pul-[A-Za-z0-9]{{40}}{_SHUT}"),
    _rule(
        "a key of a model provider",
        "r8_ gsk_ xai- nvapi-",
        rf"{OPEN}(?:r8_\w{{36,40}}|gsk_\w{{48,}}|xai-\w{{60,}}|nvapi-[\w-]{{60,}}){_SHUT}",
    ),
    _rule(
        "a token of a build service",
        "ccipat_ cciprj_ sntrys_ sntryu_ sbp_ rnd_ fo1_ rubygems_ cio",
        rf"{OPEN}(?:CCIP(?:AT|RJ)_\w{{10,}}_[0-9a-f]{{40}}|sntry[su]_[\w=+/-]{{40,}}|sbp_[0-9a-f]{{40}}|rnd_\w{{28,}}|fo1_[\w-]{{40,}}|rubygems_[0-9a-f]{{48}}|cio[A-Za-z0-9]{{32}}){_SHUT}",
        mild=True,
    ),
    _rule("a token of Hugging Face", "api_org_", rf"{OPEN}api_org_[A-Za-z0-9]{{30,}}{_SHUT}"),
    _rule("a key of Postman", "pmak-", rf"{OPEN}PMAK-[0-9a-f]{{24}}-[0-9a-f]{{34}}"),
    _rule("a key of Mailchimp", "-us", rf"{OPEN}[0-9a-f]{{32}}-us\d{{1,2}}(?![\w-])", mild=True),
    _rule(
        "a key of a model provider",
        "lsv2_ tvly- pplx- tgp_v1_",
        rf"{OPEN}(?:lsv2_[ps][tk]_\w{{32,}}|tvly-[\w-]{{32,}}|pplx-\w{{40,}}|tgp_v1_[\w-]{{40,}})",
        mild=True,
    ),
    _rule("a seed of one-time passwords", "otpauth://", r"otpauth://[^\s\"']*[?&]secret=[A-Z2-7]{16,}"),
    _rule(
        "a token without a signature's form (PASETO)",
        ".local. .public.",
        rf"{OPEN}v[1-4]\.(?:local|public)\.[\w-]{{60,}}",
        mild=True,
    ),
    _rule("a token of PlanetScale", "pscale_", rf"{OPEN}pscale_(?:tkn|pw|oauth)_[\w.-]{{32,}}"),
    _rule("a key of Alibaba", "ltai", rf"{OPEN}LTAI[A-Za-z0-9]{{16,24}}{_SHUT}"),
    _rule("a key of Tencent", "akid", rf"{OPEN}AKID[A-Za-z0-9]{{32}}{_SHUT}", mild=True),
    _rule("a token of Dropbox", "sl.a sl.b sl.u", rf"{OPEN}sl\.[\w-]{{130,}}", mild=True),
    _rule("a token of Figma", "figd_", rf"{OPEN}figd_[\w-]{{40,}}"),
    _rule("a token of Okta", "ssws", r"SSWS\s+00[\w-]{40}"),
    _rule("a key of Twilio", "sk ac", rf"{OPEN}SK[0-9a-f]{{32}}{_SHUT}", mild=True),
    _rule("a key of Mailgun", "key-", rf"{OPEN}key-[0-9a-f]{{32}}{_SHUT}", mild=True),
    _rule("a key of Kaggle", '"username"', r'"username"\s*:\s*"[^"]+"\s*,\s*"key"\s*:\s*"[0-9a-f]{32}"'),
    _rule("the address of an error tracker", "://", r"https?://[0-9a-f]{32}(?::[0-9a-f]{32})?@[\w.-]+/\d+", mild=True),
    _rule("the address of a package index", "/t/", r"/t/[a-z]{2}-[\w-]{20,}/", mild=True),
    _rule("a private key", "\x02\x01\x00\x30", _PKCS8),
    _rule(
        "a private key",
        "\x2a\x86\x68\xce\x38\x04\x01",  # in lower case
        r"\x02\x01\x00\x30[\s\S]{1,4}\x06\x07\x2a\x86\x48\xce\x38\x04\x01",
        mild=True,
    ),
    _rule("a private key", "\x06\x03\x2b\x65", r"\x02\x01[\x00\x01]\x30\x05\x06\x03\x2b\x65[\x6e-\x71]\x04", mild=True),
    _rule(
        "a private key",
        "\x02\x01\x03\x30",
        r"\A\x30[\x80-\x84][\s\S]{0,4}\x02\x01\x03\x30[\s\S]{1,5}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x01\x02]",
        mild=True,
    ),
    _rule(
        "a private key",
        "\x02\x01\x00\x02\x82",
        r"\A\x30\x82[\s\S]{2}\x02\x01\x00\x02\x82[\x00-\x04][\s\S]\x00",
        mild=True,
    ),
    _rule("a private key", "\x30\x77\x02\x01\x01\x04", r"\x30\x77\x02\x01\x01\x04\x20[\s\S]{32}\xa0\x0a\x06\x08"),
    _rule(
        "a private key",
        "\x2a\x86\x68\x86\xf7\x0d\x01\x05\x0d",
        r"\A\x30(?:\x81[\s\S]|\x82[\s\S]{2})\x30[\s\S]{1,3}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d",
        mild=True,
    ),
    _rule("a secret of Ansible's vault", "$ansible_vault", r"^\$ANSIBLE_VAULT;\d"),
    _rule(
        "a password or token",
        "password pwd",
        r"(?i)\b(?:host|server|user(?:name)?|user id|uid|dbname|database|driver)\s*=\s*[^;&\s,\"']+[;&\s][^\n,]{0,200}?\b(?:password|pwd)\s*=\s*(?![{<$])[^\s;&\"'),]{3,}",
        mild=True,
    ),
    _rule(
        "a password or token",
        "password> token> secret> apikey>",
        r"(?i)<(?:password|token|secret|apiKey)>(?![${<])[^<>\s]{4,200}</",
        mild=True,
    ),
    _rule(
        "a password or token",
        "value=",
        rf"(?i)=\s*[\"'][\w.-]*{_WORDS}[\w.-]*[\"']\s+value\s*=\s*[\"'][^\"'\s${{}}]{{6,}}",
        mild=True,
    ),
    _rule(
        "a password or token",
        "value",
        rf"(?i)name[\"']?\s*:\s*[\"']?[\w.-]*{_WORDS}[\w.-]*[\"']?,?\s+[\"']?value[\"']?\s*:\s*[\"']?(?![$<{{%])[^\s\"'{{}}<$]{{6,}}",
        mild=True,
    ),
    _rule(
        "a password or token",
        "curl",
        r"\bcurl\b[^\n]{0,200}\s(?:-u|--user)[\s=]+[\"']?[\w.-]+:(?![$<{])\S{4,}",
        mild=True,
    ),
    _rule(
        "a password or token",
        "pass secret token key credential",
        r"^[ \t]*(?:export[ \t]+)?(?=[A-Z0-9_]*(?:PASS(?:WORD|WD)?|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|CREDENTIALS?)[A-Z0-9_]*=)[A-Z][A-Z0-9_]*=(?![$<{])[^\s\"'()\[\]{}$]{6,}[ \t]*\r?$",
        mild=True,
    ),
    _rule(
        "a value without order, as keys are",
        "\" '",
        r"(?P<name>[\w.-]{1,60})[\"']?\s{0,4}(?:=|:|=>)\s{0,4}b?(?P<quote>[\"'])(?P<value>[A-Za-z0-9+/_=-]{32,200})(?P=quote)",
        mild=True,
        check=is_random,
    ),
    _rule(
        "a value without order, as keys are",
        "= :",
        r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z][\w.-]{1,60})[ \t]*[=:][ \t]*(?P<value>[A-Za-z0-9+/_=-]{32,200})[ \t]*\r?$",
        mild=True,
        check=is_random,
    ),
    _rule(
        "a value without order, as keys are",
        "key= token= secret= password= auth= signature=",
        r"[?&](?P<name>[\w.-]{0,20}(?:key|token|secret|password|auth|signature))=(?P<value>[A-Za-z0-9_~.%+-]{20,200})",
        mild=True,
        check=is_random,
    ),
    _rule("a signed token (JWT)", "eyj", rf"{OPEN}eyJ[\w-]{{10,}}\.eyJ[\w-]{{10,}}\.[\w-]{{10,}}"),
    _rule("an address with a password", "://", rf"{_USER}(?!{_EXAMPLES}){_AFTER}"),
    _rule("an address with a password", "://", rf"{_USER}{_AFTER}", mild=True),
    _rule("a login of .netrc", "machine", r"machine\s+\S+\s+login\s+\S+\s+password\s+\S+"),
    _rule("a login of .netrc", "default", r"^default\s+login\s+\S+\s+password\s+\S+", mild=True),
    _rule(
        "a login of Postgres",
        ":5432: :5433: :6432: :*:",
        r"^[\w.*-]+:(?:\d{4,5}|\*):[\w.*-]+:[\w.*-]+:[^\s:]{4,}[ \t]*\r?$",
        mild=True,
    ),
    _rule("a password or token", "bindpw", r"^\s*bindpw\s+\S{3,}", mild=True),
    _rule("a login of Docker", '"auth"', r'"auth"\s*:\s*"[A-Za-z0-9+/]{12,}={0,2}"'),
    _rule("a login of npm", "_auth", r"_auth(?:Token)?\s*=\s*\S{8,}", mild=True),
    _rule(
        "a bearer token",
        "bearer basic token",
        r"(?i)authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{16,}",
        mild=True,
    ),
    _rule(
        "a password or token",
        "pass secret token key credential",
        rf"(?i)(?<![a-z0-9])[\w.-]{{0,40}}{_WORDS}[\w.-]{{0,40}}[\"']?\s{{0,4}}(?:=|:|=>)\s{{0,4}}([\"'])(?![${{<%]|(?:x+|\*+|\.+)\1)[^\s\"'\\]{{6,200}}\1",
        mild=True,
    ),
    _rule(
        "a password or token",
        "pass secret token key credential",
        rf"(?i)(?:^[ \t]*|[\"'])(?:export[ \t]+)?[\w.-]{{0,40}}{_WORDS}[\w.-]{{0,20}}[ \t]*[=:][ \t]*(?=[^\s]*[0-9!@#%^&*])(?![${{<%\[(\"'])[^\s\"'()\[\]]{{6,200}}[ \t]*(?:\r?$|[\"'])",
        mild=True,
    ),
)

PLACES = (
    _rule(
        "the address of a package index",
        "index find-links find_links trusted-host trusted_host",
        r"(?i)(?:--|pip_|uv_|^|[\s\"'=\[])(?:(?:extra[-_]|default[-_])?index[\"']?\s*(?:=|:|\s)\s*[\"']?https?://|(?:(?:extra[-_]|default[-_])?index[-_]url|find[-_]links|trusted[-_]host)[\"']?\s*(?:=|:|\s)\s*[\"']?(?:https?://|[\w.-]+\.[a-z]{2,}))",
        mild=True,
    ),
    _rule("the address of a package index", "-i", r"(?:^|\s)-i\s+https?://\S+", mild=True),
    _rule(
        "the address of a package index",
        "/simple",
        r"https?://(?!(?:[\w-]+\.)*(?:pypi|pythonhosted)\.org)[^\s\"'<>]+/simple/?(?=[\"'\s]|$)",
        mild=True,
    ),
    _rule(
        "the address of a package index",
        "[[",
        r"^\[\[(?:tool\.(?:uv|poetry|pdm|pixi)\.)?(?:index|source)\]\]",
        mild=True,
    ),
    _rule("the address of a package index", "repository", r"(?i)^\s*repository\s*[:=]\s*https?://\S+", mild=True),
    _rule("a git remote", "git@ ssh://", r"(?:git@[\w.-]+:[\w.~-]+/|ssh://(?:[\w-]+@)?[\w.-]+)", mild=True),
    _rule("a git remote", "[remote", r"\[remote \\?\"[^\"\\]+\\?\"\]", mild=True),
    _rule(
        "a path of a machine",
        "/home/ /users/",
        r"(?:(?<![\w.)}*-])|(?<=\.\.)|(?<=/Workspace))/(?:home|Users)/(?!bentoml\b|\$|<|\{)[A-Za-z0-9_][\w.@-]*(?:/|$|[\"'\s])",
        mild=True,
    ),
    _rule(
        "a path of a machine",
        "root/ /var/folders/",
        r"(?<![\w.)}*-])/(?:root/(?!\.cache\b|\.local/bin)|var/folders/)[\w.]",
        mild=True,
    ),
    _rule(
        "a path of a machine",
        "/mnt/ /dbfs/ /workspace /jenkins/ /builds/ /github/ /content/drive /scratch/ /media/ /volumes/ /envs/",
        r"(?<![\w.)}*:/-])/(?:mnt|dbfs|Volumes|opt/\w*conda\d?(?=/envs)|workspaces?|var/lib/jenkins|builds|github/workspace|content/drive|scratch|media)/[\w.-]+/[\w.-]",
        mild=True,
    ),
    _rule(
        "the name of a machine",
        "ssh-rsa ssh-ed25519 ecdsa-sha2",
        r"(?:ssh-(?:rsa|ed25519)|ecdsa-sha2-\S+) AAAA[\w+/=]{40,} \S+@\S+",
        mild=True,
    ),
    _rule(
        "a path of a machine",
        ":\\",
        r"(?<![A-Za-z])[A-Za-z]:\\{1,2}(?:Users|Documents and Settings)\\{1,2}\w",
        mild=True,
    ),
    _rule(
        "a path of a machine",
        "\\\\",
        r"(?<![\\\w.])(?:\\\\|\\\\\\\\)[A-Za-z][\w-]{2,}\\{1,2}[A-Za-z][\w-]+\$?\\{1,2}\w",
        mild=True,
    ),
    _rule("a private address", "//[fc //[fd", r"(?i)//\[f[cd][0-9a-f]{2}:[0-9a-f:]+\]", mild=True),
    _rule(
        "a private address",
        "100.",
        r"(?<![\w.])100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])(?:\.\d{1,3}){2}(?![\w.])",
        mild=True,
    ),
    _rule(
        "a private address",
        "10. 192.168. 172.",
        r"(?<![\w.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\w.])",
        mild=True,
    ),
    _rule(
        "the name of a private host",
        ".internal .local .corp .lan .intranet",
        r"(?i)(?:://|@)(?!host\.docker\.)(?:[\w%.-]+@)?[\w-]+(?:\.[\w-]+)*\.(?:internal|local|corp|lan|intranet)(?![\w-])",
        mild=True,
    ),
    _rule(
        "the name of a private host",
        ".internal: .corp: .lan: .intranet:",
        r"(?i)(?<![\w.-])(?!host\.docker\.)[\w-]+(?:\.[\w-]+)*\.(?:internal|corp|lan|intranet):\d{2,5}(?!\d)",
        mild=True,
    ),
    _rule("a git repository", "ref: refs/", r"\Aref: refs/\S+\s*\Z", mild=True),
    _rule("a data file", '{"', r"\A\s*\[\s*(?:\{\"[^{}\[\]]{1,2000}\}\s*,\s*){50}", mild=True),
    _rule("a data file", "dump", r"^-- (?:PostgreSQL database|MySQL|MariaDB|SQLite) dump", mild=True),
    _rule("a data file", "copy", r"^COPY [\w.\"]+ ?\([^()\n]+\) FROM stdin;", mild=True),
    _rule("a data file", "insert", r"(?i)(?:^INSERT INTO [^\n]{1,2000}\n){10}", mild=True),
    _rule("a data file", "pandas.core.", r"\A\x80[\x02-\x05][\s\S]{0,60}pandas\.core\.(?:frame|series)", mild=True),
    _rule(
        "a notebook",
        "nbformat cell_type",
        r"\"nbformat\"\s*:\s*\d[\s\S]{0,400}|\"cell_type\"\s*:\s*\"code\"",
        mild=True,
    ),
)

RULES = SECRETS + PLACES
SURE = tuple(rule for rule in RULES if not rule.mild)  # those that a library is asked of too
