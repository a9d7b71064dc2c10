"""Passwords and logins, by what stands before them."""

from __future__ import annotations

from ekiben.containers.leaks.forms import (
    ASIDE,
    LOGIN,
    MANY,
    NO_VALUE,
    WORDS,
    is_login,
    is_mixed,
    is_random,
    is_value,
    rule,
)

# What documents of libraries write where a password would stand, also when it is turned by 13 letters.
_EXAMPLES = r"(?i:(?:my_?)?pass(?:word|wd)?|cnffjbeq|pwd|pw|secret|a%20secret|token|repo|redacted|p|x+|\*+)@"
# An address of no machine (RFC 2606), with a word for a password.
_NOWHERE = rf"{_EXAMPLES}(?:[\w-]+\.)*example\.(?:com|net|org)(?![\w.-])"
_USER = r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@'\"<>{}$\[\](),;|\\`]{0,80}:"
# No control character, and three letters at least: two may be how marshal begins the next text.
_AFTER = r"[^\s/:@'\"<>{}$\[\]()|\\`*\x00-\x1f]{3,120}@[A-Za-z0-9\[]"

_TELLING = rf"[\w.-]{{0,40}}{WORDS}[\w.-]{{0,40}}"  # bounded: a name may have no end
# A value that only names another one: a variable of the environment, a field, a part of an object.
_NAME = r"(?:(?-i:[A-Z]+(?:_[A-Z]+)+)|(?:[a-z]+[_.-])*(?:password|token|secret|api_?key|credentials?)s?\d?)[\"']"
_TEXT = rf"[\"'](?![${{<%]|{_NAME})[^\"'\s]{{6,200}}[\"']"  # a value in quotes
_VALUE = r"(?=\S*\d)(?![$<{%\"'(\[./-])[^\s\"'()\[\]{}$<>,;]{6,200}"  # one without, that no word of a language is

# A text of a pickle begins with its length and ends with a number to call it by.
_CALLED = r"(?:\x94|q[\x00-\xff]|r[\x00-\xff]{4}|\np\d+\n)"
_PICKLED = r"(?:[\x8cU](?P<length>[\x06-\xff])|X(?P<longer>[\x06-\xff])\x00\x00\x00|V)(?P<value>[!-~]{6,255})"

LOGINS = (
    rule(
        LOGIN,
        MANY,
        r"^[ \t]*(?:export[ \t]+)?(?=[A-Z0-9_]*(?:PASS(?:WORD|WD)?|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|CREDENTIALS?)[A-Z0-9_]*=)[A-Z][A-Z0-9_]*=(?![$<{])[^\s\"'()\[\]{}$]{6,}[ \t]*\r?$",
        rf"(?i)(?<![a-z0-9]){_TELLING}{ASIDE}[\"']?\s{{0,4}}(?::?=|:|=>|[=!]==?(?=\s{{0,4}}[\"'][a-z]*\d))\s{{0,4}}b?([\"'])(?![${{<%]|(?:x+|\*+|\.+|#[0-9a-f]{{3,8}}|\[[A-Z]+\])\1|{_NAME})[^\s\"'\\]{{6,200}}\1",
        rf"(?i)(?:^[ \t]*|[\"'])(?:export[ \t]+)?[\w.-]{{0,40}}{WORDS}[\w.-]{{0,20}}{ASIDE}[ \t]*[=:][ \t]*(?=[^\s]*[0-9!@#%^&*]){NO_VALUE}(?![${{<%\[(\"']|[A-Za-z]\w*(?:\.[A-Za-z]\w*)+,[ \t]*\r?$)[^\s\"'()\[\]]{{6,200}}[ \t]*(?:\r?$|[\"'])",
        rf"(?i)[\"']{_TELLING}[\"']\s*\]\s*=\s*{_TEXT}",
        rf"(?i)(?<![a-z0-9]){_TELLING}[\"')\]]{{0,3}}\s*(?:\bor\b|\|\||\?\?)\s*(?=[\"'][^\"'\s]*\d){_TEXT}",
        rf"(?i)\bvariable\s+[\"']?{_TELLING}[\"']?\s*\{{[^{{}}]{{0,200}}?\bdefault\s*=\s*{_TEXT}",
        rf"--set(?:-string)?[ =][\w.=,-]{{0,200}}?(?i:{WORDS})[\w-]{{0,20}}={_VALUE}",
        rf"(?i)\b(?:set_?default|get_?env|put_?env|set_?env|define|get|set_?property)\(\s*[\"']{_TELLING}[\"']\s*,\s*{_TEXT}",
        rf"(?i)(?<![a-z0-9])\w{{0,40}}{WORDS}\w{{0,40}}{ASIDE}[ \t]*:[ \t]*[A-Za-z&][\w.\[\], |']{{1,40}}?[ \t]*=[ \t]*(?:(?:[a-z]+\.)?(?:Secret(?:Str|Bytes)?|Option|Field)\()?{_TEXT}",
        rf"(?i)\b(?:set|with)_?\w{{0,20}}{WORDS}\w{{0,20}}\(\s*{_TEXT}\s*\)",
        rf"(?i)[\s({{]:[\w-]{{0,40}}{WORDS}[\w-]{{0,40}}\s+{_TEXT}",
        rf"(?i)<\w+\s(?:key|name)=[\"']{_TELLING}[\"'][^<>]{{0,80}}>\s*(?![${{<%])[^<>\s]{{6,200}}\s*</",
        rf"(?i)<key>{_TELLING}</key>\s*<string>(?![${{<%])[^<>\s]{{6,200}}</string>",
        rf"(?i)^[ \t]*[\w.-]{{0,40}}{WORDS}[ \t]*:[ \t]*[|>][-+]?[ \t]*\n[ \t]+{_VALUE}[ \t]*\r?$",
        rf"(?:^[ \t]*|[\s;&|])(?:-[ \t]+|ENV[ \t]+|ARG[ \t]+|-e[ \t]+)?(?:[A-Z][A-Z0-9_]{{0,40}}?)?(?:PASS(?:WORD|WD)?|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|CREDENTIALS?)[A-Z0-9_]{{0,20}}=[\"']?{_VALUE}",
        rf"^ENV[ \t]+[A-Z0-9_]*(?:PASS(?:WORD|WD)?|SECRET|TOKEN|API_?KEY|CREDENTIALS?)[A-Z0-9_]*[ \t]+{_VALUE}",
        rf"(?i)(?<!\w)--[a-z-]{{0,30}}(?:password|passwd|token|api-?key|secret-?key)(?:=|[ \t]+|[\"'],\s*)[\"']?{_VALUE}",
        mild=True,
    ),
    rule(
        LOGIN,
        "password pwd",
        r"(?i)\b(?:host|server|user(?:name)?|user id|uid|dbname|database|driver)\s*=\s*[^;&\s,\"']+[;&\s][^\n,]{0,200}?\b(?:password|pwd)\s*=\s*(?![{<$]|(?:\w+\.)?\w*(?:password|pwd)\b)[^\s;&\"'),]{3,}",
        mild=True,
    ),
    rule(
        LOGIN,
        "password identified",
        rf"(?i)\b(?:(?:with|encrypted|set)\s+password|identified\s+(?:with\s+[\"'`\w]+\s+)?by)\s+(?:password\s+)?=?\s*{_TEXT}",
        mild=True,
    ),
    rule(
        LOGIN,
        "password> token> secret> apikey>",
        r"(?i)<(?:password|token|secret|apiKey)>(?![${<])[^<>\s]{4,200}</",
        mild=True,
    ),
    rule(
        LOGIN,
        "value=",
        rf"(?i)=\s*[\"']{_TELLING}[\"']\s+value\s*=\s*[\"'][^\"'\s${{}}]{{6,}}",
        mild=True,
    ),
    rule(
        LOGIN,
        "value",
        rf"(?i)name[\"']?\s*:\s*[\"']?{_TELLING}[\"']?,?\s+[\"']?value[\"']?\s*:\s*[\"']?(?![$<{{%])[^\s\"'{{}}<$]{{6,}}",
        mild=True,
    ),
    rule(
        LOGIN,
        "curl",
        r"\bcurl\b[^\n]{0,200}\s(?:-u|--user)[\s=]+[\"']?[\w.-]+:(?![$<{])\S{4,}",
        mild=True,
    ),
    rule(
        "a value without order, as keys are",
        "\" '",
        r"(?<![\w.-])(?P<name>[\w.-]{1,200})[\"']?\s{0,4}(?:=|:|=>)\s{0,4}(?:\(\s{1,40}|(?:bytes(?:array)?\.fromhex|(?:binascii\.)?unhexlify|(?:base64\.)?\w{0,8}b64decode)\(\s{0,40})?b?(?P<quote>[\"'])(?P<value>[A-Za-z0-9+/_=-]{32,200})(?P=quote)",
        mild=True,
        check=is_random,
    ),
    rule(
        "a value without order, as keys are",
        "= :",
        r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z][\w.-]{1,60})[ \t]*[=:][ \t]*(?P<value>[A-Za-z0-9+/_=-]{32,200})[ \t]*\r?$",
        mild=True,
        check=is_random,
    ),
    rule(
        "a value without order, as keys are",
        "key= token= secret= password= auth= signature=",
        r"(?i)[?&](?P<name>[\w.-]{0,20}(?:key|token|secret|password|auth|signature))=(?P<value>[A-Za-z0-9_~.%+-]{20,200})",
        mild=True,
        check=is_random,
    ),
    rule("an address with a password", "://", rf"{_USER}(?!{_EXAMPLES}){_AFTER}"),
    rule("an address with a password", "://", rf"{_USER}(?!(?i:password@host)|{_NOWHERE}){_AFTER}", mild=True),
    rule("a login of .netrc", "machine", r"machine\s+\S+\s+login\s+\S+\s+password\s+\S+"),
    rule(
        "a login of .netrc",
        "machine",
        r"machine\s{1,9}\S{1,200}\s{1,9}(?:(?:login|account)\s{1,9}\S{1,80}\s{1,9}){1,2}password\s{1,9}\S|machine\s{1,9}\S{1,200}\s{1,9}password\s{1,9}\S{4,80}\s{1,9}login\s",
        mild=True,
    ),
    rule("a login of .netrc", "default", r"^default\s+login\s+\S+\s+password\s+\S+", mild=True),
    rule(
        "a login of Postgres",
        ":5432: :5433: :6432: :*:",
        r"^[\w.*-]+:(?:\d{4,5}|\*):[\w.*-]+:[\w.*-]+:[^\s:]{4,}[ \t]*\r?$",
        mild=True,
    ),
    rule(
        "a login of Postgres",
        ":",
        r"^(?![\w.-]*\.(?:py|js|c|go|rs|java):)[\w.*-]{1,100}:(?:\d{4,5}|\*):[\w.*-]{1,60}:[\w.*-]{1,60}:(?P<value>[^\s:]{6,120})[ \t]*\r?$",
        mild=True,
        check=is_login,
    ),
    rule(
        LOGIN,
        MANY,
        rf"(?i)(?:\x8c.|X.\x00\x00\x00|U.|V){_TELLING}{_CALLED}{_PICKLED}",
        mild=True,
        check=is_value,
    ),
    rule(LOGIN, "bindpw", r"^\s*bindpw\s+\S{3,}", mild=True),
    rule("a login of Docker", '"auth"', r'"auth"\s*:\s*"[A-Za-z0-9+/]{12,}={0,2}"'),
    rule("a login of npm", "_auth", r"_auth(?:Token)?\s*=\s*\S{8,}", mild=True),
    rule(
        "a bearer token",
        "bearer basic token",
        r"(?i)authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{16,}",
        mild=True,
    ),
    rule(
        LOGIN,
        "auth login simple_bind",
        rf"(?i)(?:\bauth\s*=\s*\(|(?:basic|digest)auth\(|\.login\(|\.simple_bind(?:_s)?\()\s*[\"'][^\"'\s]+[\"']\s*,\s*{_TEXT}",
        mild=True,
    ),
    rule(LOGIN, "{aqaaabaaaa", r"\{AQAAABAAAA[\w+/=]{20,}\}", mild=True),
    rule(
        LOGIN,
        "password passwd pwd",
        r"(?i)^[ \t]*(?:[\w.-]{0,40}[._-])?(?:password|passwd|pwd)[ \t]*[=:][ \t]*(?!.*(?:pass|secret|token|string|required|optional|prompt|input|hidden|disabled|unset|example|change))[a-z-]{10,60}[ \t]*\r?$",
        mild=True,
    ),
    rule(LOGIN, "app_key", r"APP_KEY=base64:[\w+/]{43}=", mild=True),
    rule(LOGIN, "mysql", r"\bmysql(?:dump|admin)?\s[^\n]{0,120}\s-p(?![$-])[^\s\"'-]{6,}", mild=True),
    rule(
        LOGIN,
        MANY,
        rf"(?i)(?<![a-z0-9]){_TELLING}\s{{0,4}}=\s{{0,4}}b?(\"\"\"|''')\s*(?![${{<%])(?=\S*\d)[^\s\"'\\]{{6,200}}\s*\1",
        mild=True,
    ),
    rule(
        LOGIN,
        "secret. password. .key",
        rf"(?i)^[ \t]*[a-z][\w-]*(?:\.[\w-]+)*\.(?:secret[.-]?key|access[.-]key|password|secret|token)[ \t]+{_VALUE}[ \t]*\r?$",
        mild=True,
    ),
    rule(
        LOGIN,
        "-storepass -keypass -passin -passout -pass",
        r"\s-(?:(?:(?:src|dest)?(?:store|key)pass)\s+|pass(?:in|out)?\s+pass:)(?!\$)[\"']?(?!\$)(?=\S*\d)[^\s\"'<$]{6,}",
        mild=True,
    ),
    rule(LOGIN, "zip", r"\b(?:un)?zip\s[^\n]{0,80}?-P\s*[\"']?(?!\$)(?=\S*\d)[^\s\"'$]{6,}", mild=True),
    rule(LOGIN, "client(", r"(?i)client\(\s*[\"']AC[0-9a-f]{32}[\"']\s*,\s*[\"'][0-9a-f]{32}[\"']", mild=True),
    rule("a private key", "fernet(", r"Fernet\(\s*b?[\"'][A-Za-z0-9_-]{43}=[\"']", mild=True),
    rule(LOGIN, "sshpass", r"\bsshpass\s+-p\s*[\"']?(?!\$)[^\s\"']{4,}", mild=True),
    rule(
        LOGIN, "login", r"\blogin\s[^\n]{0,120}(?:\s-p|\s--password)[\s=]+[\"']?(?!\$)[^\s\"'-][^\s\"']{5,}", mild=True
    ),
    rule(LOGIN, "sqlplus", r"\bsqlplus\s[^\n]{0,40}?\w+/(?!\$)[^\s@/]{4,}@", mild=True),
    rule(LOGIN, "jdbc:oracle:", r"jdbc:oracle:\w+:\w+/(?!\$)[^\s@/]{4,}@", mild=True),
    rule(LOGIN, "/user:", r"\bnet\s+use\s[^\n]{0,120}/user:\S+\s+(?![$%])\S{4,}", mild=True),
    rule(
        LOGIN,
        "-asplaintext",
        r"(?i)ConvertTo-SecureString\s[^\n]{0,20}[\"'](?!\$)[^\"'\s]{4,}[\"'][^\n]{0,40}-AsPlainText",
        r"(?i)ConvertTo-SecureString\s[^\n]{0,40}-AsPlainText[^\n]{0,40}?[\"'](?!\$)[^\"'\s]{4,}[\"']",
        mild=True,
    ),
    rule(LOGIN, "user", r"^user\s*=\s*[\"'][\w.@-]+:(?![${<])[^\"'\s]{4,}[\"']", mild=True),
    rule("a login of a browser", "cookie", r"\A# (?:Netscape )?HTTP Cookie File", mild=True),
    rule(
        "a login of a browser",
        "cookie:",
        r"(?i)(?<![\w-])(?:set-)?cookie:\s*[\w.-]+=(?=\S*\d)[A-Za-z0-9%+/=_.-]{20,}",
        mild=True,
    ),
    rule(
        "a login of a browser",
        '"creator"',
        r"\"log\"\s*:\s*\{\s*\"version\"\s*:\s*\"1\.\d\"\s*,\s*\"creator\"",
        mild=True,
    ),
    rule("a bearer token", "bearer", r"(?i)\bbearer[\s\"'+]{1,8}(?=[A-Za-z]*\d)[A-Za-z0-9._~+/=-]{24,}", mild=True),
    rule(
        "a bearer token", "apikey", r"(?i)authorization[\"']?\s*[:=]\s*[\"']?apikey\s+[A-Za-z0-9+/=_-]{16,}", mild=True
    ),
    rule(
        "an address with a password",
        "://",
        r"://(?P<value>(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,200})@[\w.-]+\.\w",
        mild=True,
        check=is_mixed,
    ),
    rule(
        "a password's digest",
        "$2 $5$ $6$ $y$ $apr1$ $argon2",
        r"\$(?:2[aby]\$\d\d\$[./A-Za-z0-9]{53}|[56]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}|y\$\w+\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{43}|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|argon2(?:id?|d)\$v=)",
        mild=True,
    ),
)
