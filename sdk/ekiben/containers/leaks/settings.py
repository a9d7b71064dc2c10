"""Passwords in settings, commands and words, known by the name that stands before them and by how they look."""

from __future__ import annotations

from ekiben.containers.leaks.forms import ASIDE, LOGIN, MANY, NO_VALUE, WORDS, is_login, is_password, rule

# Names in short, and in other languages: a value behind one must look like a password.
_ABROAD = "senha contraseña mot_de_passe motdepasse wachtwoord kennwort haslo hasło heslo lösenord salasana пароль 密码 密碼 パスワード 비밀번호"
_BYTES = [word.encode().decode("latin-1") for word in _ABROAD.split()]  # as the bytes of UTF-8 stand in a pattern
_SHORT = r"(?<![a-z0-9])(?:pwd?|psk|psw|mdp)(?![a-z0-9])"
_WORDS = rf"(?:{WORDS}|{_SHORT}|contrasena|{'|'.join(_BYTES)})"
_REST = rf"[\w.-]{{0,20}}+{ASIDE}(?<!_id)"  # of a name
_NAME = rf"{_WORDS}{_REST}"
_ANY = f"{MANY} pw psk psw mdp contrasena {' '.join(_BYTES)}"
# What begins a value in YAML: a name to call it by, or its kind.
_MARKED = r"(?:&[\w-]{1,40}[ \t]+|!!?\w{0,20}[ \t]+)?"
_SET = r"[ \t]*(?:[?:+]{0,2}=|:|=>)[ \t]*"
_QUOTED = r"(?P<value>[^\s\"'`:\x00-\x1f\x7f-\xff]{6,120}+)"
_VALUE = r"(?P<value>(?![$<{%*&])[^\s\"'`,;{}()\[\]<>$&|\x00-\x1f\x7f-\xff]{6,120}+)(?=[\s\"'`,;&|})\]]|\Z)"
_ARGUMENT = r"[ \t=]*[\"']?(?!\$)(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[^\s\"'$`]{6,120}"
_COMMAND = r"[^\n|;]{0,160}?[ \t]"
_PUBLIC = r"(?!(?:[\w-]+\.)*(?:pypi\.org|pythonhosted\.org|github\.com|githubusercontent\.com|pytorch\.org|nvidia\.com|huggingface\.co)/)"
_INDEX = "the address of a package index"

SETTINGS = (
    rule(
        LOGIN,
        _ANY,
        # In quotes, whatever joins the two: a comma, an arrow, a type, a call, another value.
        rf"(?i){WORDS}{_REST}[\"'`]?(?![ \t](?:[a-z]+[ \t]){{3}})[^\n\"'`#]{{1,60}}+(?:[\"'][^\"'\n]{{0,40}}+[\"'],[ \t]*)?(?P<quote>[\"'`]){_QUOTED}(?P=quote)",
        rf"(?i){_NAME}[\"'`]?{_SET}[rb]?(?P<quote>[\"'`]){_QUOTED}(?P=quote)",
        # In brackets, on a line of its own: so a formatter leaves a long one.
        rf"(?i){_NAME}(?:[ \t]*:[ \t]*[A-Za-z][\w.\[\], |]{{0,40}}?)?[ \t]*=[ \t]*\([ \t]*\r?\n[ \t]*[rb]?(?P<quote>[\"']){_QUOTED}(?P=quote)[ \t]*(?:#[^\n]{{0,200}})?\r?\n[ \t]*\)",
        # Without quotes, wherever on a line: in a list of YAML, a query, a command.
        rf"(?i){_NAME}[\"'`*]{{0,3}}{_SET}[*]{{0,2}}[ \t]*{_MARKED}{_VALUE}",
        rf"(?i)(?:(?<![\w-])(?:setx|setenv|set(?:[ \t]+-\w{{1,3}})*|#[ \t]*define|setq|defvar|defconst)[ \t]+|^[ \t]*+)[\"']?[\w.-]{{0,40}}{_NAME}[\"']?[ \t]+[\"']?{_VALUE}",
        rf"(?i)\bpass(?:word|wd|code|phrase)\b(?:[ \t]+\w{{1,20}}){{0,2}}[ \t]+is[ \t]+[\"'`]?{_VALUE}",
        rf"(?i){_NAME}[\"'][^\n]{{0,80}}?\bdefault[ \t]*=[ \t]*[\"']{_QUOTED}[\"']",
        mild=True,
        check=is_password,
    ),
    rule(
        LOGIN,
        MANY,
        # A line of its own, with what may stand before a value and behind it.
        rf"(?i)^[ \t]*+(?:(?:[#;>-]|//)[ \t]*+)?(?:export[ \t]+)?[\w.-]{{0,40}}{WORDS}[\w.-]{{0,20}}+{ASIDE}{_SET}{_MARKED}(?=\S*\d)(?=\S*[A-Za-z]){NO_VALUE}(?![$<{{%\[(\"'*&./]|[A-Za-z]\w*(?:\.[A-Za-z]\w*)+)[^\s\"'()\[\]{{}},]{{6,200}}(?:[ \t]+(?:#|;|//)[^\n]{{0,200}})?[ \t]*\r?$",
        rf"(?i)(?<![a-z0-9])[\w.-]{{0,40}}{WORDS}[ \t]*=[ \t]*<<[-~]?[ \t]*\"?(?P<end>\w{{1,20}})\"?[ \t]*\r?\n[ \t]*(?=\S*\d)[^\s$]{{6,200}}[ \t]*\r?\n[ \t]*(?P=end)",
        rf"(?i){WORDS}[\w.-]{{0,20}}[\"'][ \t]*:[ \t]*\{{\s{{0,40}}[\"'](?:value|default|string)[\"'][ \t]*:[ \t]*[\"'](?![${{<%])[^\s\"']{{6,200}}[\"']",
        mild=True,
    ),
    rule(
        LOGIN,
        MANY,
        # In quotes, with escapes: of quotes and bytes, and no others, as patterns have them.
        *(
            rf"(?i){WORDS}[\w.-]{{0,20}}+(?<!_re)(?<!_regex)(?<!pattern){ASIDE}[\"']?[ \t]*(?:[=:]|=>)[ \t]*[rb]{{0,2}}{quote}(?=[^{quote}\n]{{0,200}}[\\{other}])(?P<value>(?:\\(?:x[0-9a-f]{{2}}|[nrt\\\"'/])|[^\s:{quote}\\]){{8,200}}+){quote}"
            for quote, other in (('"', "'"), ("'", '"'))
        ),
        mild=True,
        check=is_login,
    ),
    rule(
        LOGIN,
        "phrase mnemonic seed",
        r"(?i)(?:pass[_-]?phrase|mnemonic|seed[_-]?(?:phrase|words))[\"']?[ \t]*[=:][ \t]*[\"']?(?![^\n]{0,300}\b(?:the|a|an|to|of|is|for|your|used|and|or|if|key|file|must|with)\b)(?:[a-z]{3,10} ){3,23}[a-z]{3,10}[\"']?[ \t]*,?\r?$",
        mild=True,
    ),
    rule(
        LOGIN,
        "redis-cli mongo ldap sqlcmd bcp mosquitto_ plink pscp psexec ipmitool useradd",
        rf"\b(?:redis-cli|mongo(?:sh|dump|restore|export|import)?|ldap(?:search|modify|add|delete|passwd|whoami)|sqlcmd|bcp|mosquitto_(?:pub|sub)|plink|pscp|psexec|ipmitool|useradd)\b{_COMMAND}-(?:a|w|p|P|pw){_ARGUMENT}",
        mild=True,
    ),
    rule(
        LOGIN,
        "smbclient lftp curl http htpasswd xfreerdp cmdkey schtasks rabbitmqctl gpg",
        rf"\bsmbclient\b{_COMMAND}-U[ \t]*[\w.@\\-]{{1,40}}%{_ARGUMENT}",
        rf"\b(?:lftp|curl|https?)\b{_COMMAND}-[ua][ \t]*[\"']?[\w.@-]{{1,40}}[:,]{_ARGUMENT}",
        rf"\bhtpasswd[ \t]+-\w*b\w*[ \t]+\S{{1,80}}[ \t]+\S{{1,40}}[ \t]+{_ARGUMENT}",
        rf"(?i)\b(?:xfreerdp|cmdkey|schtasks)\b{_COMMAND}/(?:p:|pass:|rp[ \t]){_ARGUMENT}",
        rf"\brabbitmqctl[ \t]+(?:add_user|change_password)[ \t]+\S{{1,40}}[ \t]+{_ARGUMENT}",
        rf"\bgpg2?\b{_COMMAND}--passphrase{_ARGUMENT}",
        mild=True,
    ),
    rule(
        LOGIN,
        "echo",
        r"\becho[ \t]+(?:-\w+[ \t]+)?[\"']?(?:[\w.-]{1,40}:)?(?!\$)(?=[^\s\"']*\d)[^\s\"'$`|]{6,120}[\"']?[ \t]*\|[ \t]*(?:sudo[ \t]+)?(?:-S\b|chpasswd|passwd|[^\n|]{0,120}--(?:password|passphrase)-(?:stdin|fd))",
        mild=True,
    ),
    # What signs, where it stands among what is called.
    rule(
        LOGIN,
        "hmac.new( hmac.digest( jwt.encode( jwt.decode( serializer(",
        rf"(?:\bhmac\.(?:new|digest)|Serializer)\(\s{{0,40}}b?(?P<quote>[\"']){_QUOTED}(?P=quote)\s{{0,40}}[,)]",
        rf"\bjwt\.(?:en|de)code\([^\n]{{1,200}}?,\s{{0,40}}(?:key\s?=\s?)?b?(?P<quote>[\"']){_QUOTED}(?P=quote)\s{{0,40}}[,)]",
        mild=True,
        check=is_password,
    ),
    rule(
        LOGIN,
        "login cred acc",
        r"(?i)\b(?:logins?|cred(?:ential)?s?)\b[^\n:]{0,40}:[ \t]*[\w.@-]{1,40}[ \t]*[/|][ \t]*(?P<value>[^\s\"'`]{6,80})(?=[\s\"'`]|\Z)",
        # `account: acme/churn-7f3a` is a place.
        r"(?i)\b(?:acc(?:ount|ess|es)|acc\xc3\xa8s)\b[^\n:]{0,40}:[ \t]*[\w.@-]{1,40}[ \t]+[/|][ \t]+(?P<value>[^\s\"'`]{6,80})(?=[\s\"'`]|\Z)",
        mild=True,
        check=is_password,
    ),
    rule(LOGIN, "<pass", r"(?i)<pass(?:word|wd|phrase)?\b[^<>]{0,80}>(?![${<])[^<>\s]{4,200}</", mild=True),
    rule(
        LOGIN,
        "url.create( connect(",
        rf"(?:URL\.create\(\s*[\"'][\w+]{{3,30}}[\"']\s*,|\bconnect\()\s*[\"'][\w.@-]{{1,40}}[\"']\s*,\s*[\"']{_QUOTED}[\"']",
        mild=True,
        check=is_password,
    ),
    rule(
        LOGIN,
        "stringdata:",
        r"^stringData:[ \t]*\r?\n[ \t]+[\w.-]{1,80}:[ \t]*[\"']?(?![{$<\"'])[^\s\"'{}]{6,}",
        mild=True,
    ),
    rule(
        "a login of npm",
        "_password npmauth",
        r"(?i):_password\s*=\s*\S{8,}|npmAuth(?:Ident|Token)[\"']?:\s*[\"']?(?!\$)\S{8,}",
        mild=True,
    ),
    rule(
        "a bearer token",
        "authorization",
        r"(?i)authorization[\"']?[ \t,]+[\"'](?:bearer|basic|token)[ \t]+(?!\$)[A-Za-z0-9._~+/=-]{12,}",
        mild=True,
    ),
    rule(
        "a bearer token",
        "basic",
        r"(?i)authorization[\"']?\s*[:=]\s*[\"']?basic\s+(?=\S*\d)[A-Za-z0-9+/]{10,}={0,2}(?![\w.-])",
        mild=True,
    ),
    rule(
        "an address with a password",
        "@tcp( @unix(",
        r"(?<![\w.-])[\w.-]{1,60}:(?!\$)[^\s:@\"'`/{}<>]{4,80}@(?:tcp|unix)\(",
        mild=True,
    ),
    # A password that holds what an address should write as %2F and the like, or whose host is filled in.
    rule(
        "an address with a password",
        "://",
        r"[a-z][a-z0-9+.-]{1,30}://[^\s/:@'\"<>{}$]{0,80}:(?![$<{%]|\d{1,5}(?:[/?#]|@?\Z)|(?:[*x.]+|(?i:password|pass|secret))@)(?P<value>[^\s\"'<>`{}]{3,120})@(?:[A-Za-z0-9[]|\{\w)",
        mild=True,
        check=is_login,
    ),
    rule(
        "a key of Azure",
        "account.key.",
        r"account\.key\.[\w.-]{1,120}[\"']?[\s=:,\"']{1,5}[A-Za-z0-9+/]{60,}={0,2}",
        mild=True,
    ),
    rule(
        "a password's digest",
        "{sha {ssha $1$ $gy$ pbkdf2 scrypt: scram-sha- :::",
        r"\{SS?HA(?:256|384|512)?\}[A-Za-z0-9+/]{20,}|\$1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}(?![./\w])|\$gy\$\w+\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{43}",
        r"pbkdf2_sha\d+\$\d+\$[\w./+]{4,}\$[\w./+]{27,}|(?:scrypt|pbkdf2):[\w:]{3,40}\$\w{4,64}\$[0-9a-f]{32,}|SCRAM-SHA-(?:1|256)\$\d+:[\w+/=]{8,}\$[\w+/=]{20,}:",
        r":\d{1,8}:[0-9A-Fa-f]{32}:[0-9A-Fa-f]{32}:::",
        mild=True,
    ),
    rule(
        "a password's digest",
        "enable password",
        r"(?m)^[ \t]*(?:enable (?:secret|password)|username \S{1,40} (?:privilege \d+ )?(?:secret|password)) \d \S{8,}",
        mild=True,
    ),
    rule(_INDEX, "registry", r"\{[ \t]*registry[ \t]*=[ \t]*[\"']https?://(?!(?:[\w-]+\.)*pypi\.org\b)\S", mild=True),
    rule(
        _INDEX,
        "[package.source]",
        r"^\[package\.source\]\r?\n(?:[^\[\n]{0,300}\n){0,6}?url[ \t]*=[ \t]*[\"'](?:https?|ssh|git)://",
        mild=True,
    ),
    rule(
        _INDEX,
        '"sources"',
        r"\"sources\"\s{0,9}:\s{0,9}\[[^\]]{0,600}?\"url\"\s{0,9}:\s{0,9}\"https?://(?!(?:[\w-]+\.)*pypi\.org\b)",
        mild=True,
    ),
    rule(
        _INDEX,
        "channel_alias custom_channels",
        r"^(?:channel_alias|custom_channels)[ \t]*:\s{0,40}(?:\S{1,60}:[ \t]*)?https?://(?!(?:conda|repo)\.anaconda\.)\S",
        mild=True,
    ),
    rule(_INDEX, ".whl", rf"https?://{_PUBLIC}[^\s\"'<>]{{3,300}}?/[\w.+%-]{{1,200}}\.whl\b", mild=True),
    rule(
        "a git remote",
        "vcs_info",
        r"\"url\"\s{0,9}:\s{0,9}\"(?!https://github\.com/)[^\"\s]{4,300}\"[^{}]{0,80}\"vcs_info\"",
        mild=True,
    ),
    rule(
        "the name of a machine",
        "@",
        r"^[ \t]*(?:\([\w.-]{1,40}\)[ \t]*)?\[?(?!user@|me@|you@)[a-z_][\w-]{1,31}@(?!host\b|hostname\b|machine\b|server\b|localhost\b|example\b|container\b|[0-9a-f]{12}\b)[\w.-]{2,60}(?::|[ \t])[~/][^\s$#]{0,80}\]?[$#][ \t]",
        mild=True,
    ),
)
