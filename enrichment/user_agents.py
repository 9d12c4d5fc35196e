"""A user agent -> browser, operating system and kind of device, by the uap-core patterns as ua-parser ships them.

The patterns run in Rust (ua-parser-rs), in time linear in the text, and the text is cut first: whoever sends megabytes of user
agent pays for half a kilobyte. Answers are remembered.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from ua_parser.core import OS, Device, Domain, UserAgent
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from enrichment.remembered import Remembered

USER_AGENT_MAX: Final = 512
GENERATION: Final = 10_000

DeviceType = Literal["desktop", "mobile", "tablet", "bot", "tv", "other", ""]


class Client(NamedTuple):
    """What a client runs on: "" for what its user agent does not tell.

    `browser` and `os` are family names ("Chrome Mobile", "Android"), `browser_version` is `major.minor`. A library such as curl
    is a browser on device type other; what asks by itself (crawlers, probes, headless browsers) is a bot.
    """

    browser: str = ""
    browser_version: str = ""
    os: str = ""
    device_type: DeviceType = ""
    is_bot: bool = False


NOBODY: Final = Client()

# uap-core calls most of them "Spider"; these it does not.
_BOT: Final = re.compile(
    r"bot\b|crawl|spider|headless|kube-probe|googlehc|healthcheck|health-check|synthetic|lighthouse|phantomjs|pingdom|"
    r"uptime|prerender|puppeteer|playwright|blackbox.exporter|prometheus/",
    re.I,
)
_TV: Final = re.compile(
    r"smart-?tv|apple ?tv|\broku|google ?tv|android tv|bravia|\baft[a-z]|crkey|hbbtv|netcast|web0s|webos\.tv|viera|philipstv|"
    r"\btizen\b.*\btv\b|\bdtv\b",
    re.I,
)
_TABLET: Final = re.compile(r"ipad|tablet|playbook|kindle|silk/", re.I)
_CONSOLE: Final = re.compile(r"playstation|xbox|nintendo", re.I)
_MOBILE: Final = re.compile(r"mobi|iphone|ipod|windows phone|blackberry|opera mini", re.I)
_DESKTOP: Final = frozenset(
    ("Windows", "Mac OS X", "Linux", "Ubuntu", "Kubuntu", "Fedora", "Debian", "Red Hat", "CentOS", "SUSE", "Gentoo", "Mint",
     "Arch Linux", "Mageia", "Slackware", "Chrome OS", "FreeBSD", "OpenBSD", "NetBSD", "DragonFly BSD", "Solaris")
)  # fmt: skip
_POCKET: Final = frozenset(("iOS", "Windows Phone", "BlackBerry OS", "KaiOS", "Firefox OS", "Symbian OS", "HarmonyOS"))


class UserAgents:
    """What user agents tell. To make one takes some 0.4 s: a thousand patterns are compiled."""

    def __init__(self) -> None:
        self._resolve = Resolver(load_builtins())
        self._of = Remembered(self._parse, generation=GENERATION)

    def of(self, text: str) -> Client:
        """What `text`, a user agent, tells; `NOBODY` when it is empty."""
        return self._of(text[:USER_AGENT_MAX]) if text else NOBODY

    def _parse(self, text: str) -> Client:
        found = self._resolve(text, Domain.ALL)
        browser, os = found.user_agent or UserAgent(), found.os or OS()
        kind = _device_type(text, os.family, found.device or Device())
        numbers = [number for number in (browser.major, browser.minor) if number]
        return Client(
            browser="" if browser.family == "Other" else browser.family,
            browser_version=".".join(numbers),
            os="" if os.family == "Other" else os.family,
            device_type=kind,
            is_bot=kind == "bot",
        )


def _device_type(text: str, os: str, device: Device) -> DeviceType:
    if device.family == "Spider" or _BOT.search(text):
        return "bot"
    if _TV.search(text):
        return "tv"
    if _CONSOLE.search(text):
        return "other"
    if _TABLET.search(text) or device.brand == "Generic_Android_Tablet":
        return "tablet"
    if _MOBILE.search(text) or os in _POCKET:
        return "mobile"
    if os == "Android":
        return "tablet"  # A phone's browser says "Mobile", by Google's advice, and a tablet's does not.
    return "desktop" if os in _DESKTOP else "other"
