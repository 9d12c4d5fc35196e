"""User agents as they are sent -> what they tell; hostile ones cost no more than others."""

from __future__ import annotations

import time

import pytest

from enrichment.user_agents import NOBODY, USER_AGENT_MAX, UserAgents

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.fixture(scope="module")
def user_agents() -> UserAgents:
    return UserAgents()


@pytest.mark.parametrize(
    ("text", "browser", "version", "os", "device_type"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
         "Edge", "141.0", "Windows", "desktop"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
         "Firefox", "132.0", "Mac OS X", "desktop"),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
         "Firefox", "115.0", "Ubuntu", "desktop"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
         "Chrome", "126.0", "Chrome OS", "desktop"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
         "Mobile/15E148 Safari/604.1", "Mobile Safari", "17.5", "iOS", "mobile"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
         "Chrome Mobile", "126.0", "Android", "mobile"),
        ("MyApp/1.0 CFNetwork/1410.0.3 Darwin/22.6.0", "MyApp", "1.0", "iOS", "mobile"),
        ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 "
         "Mobile/15E148 Safari/604.1", "Mobile Safari", "16.6", "iOS", "tablet"),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
         "Chrome", "126.0", "Android", "tablet"),
        (f"Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2) {WEBKIT} Chrome/126.0 Safari/537.36",
         "Chrome", "126.0", "Android", "tv"),
        (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/79.0.3945.79 Safari/537.36 WebAppManager",
         "Chrome", "79.0", "Web0S", "tv"),
        (f"Mozilla/5.0 (Linux; Android 9; AFTKA) {WEBKIT} Silk/108.4.6 like Chrome/108.0.5359.128 Safari/537.36",
         "Amazon Silk", "108.4", "Android", "tv"),
        ("AppleTV11,1/11.1", "", "", "ATV OS X", "tv"),
        ("Roku/DVP-9.10 (519.10E04111A)", "Roku", "9.10", "Roku", "tv"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
         "Safari", "13.0", "", "other"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot", "2.1", "", "bot"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/119.0.0.0 Safari/537.36",
         "HeadlessChrome", "119.0", "Linux", "bot"),
        ("kube-probe/1.27", "", "", "", "bot"),
        ("curl/8.4.0", "curl", "8.4", "", "other"),
        ("okhttp/4.9.0", "okhttp", "4.9", "", "other"),
        ("no such thing", "", "", "", "other"),
    ],
)  # fmt: skip
def test_what_a_user_agent_tells(
    user_agents: UserAgents, text: str, browser: str, version: str, os: str, device_type: str
) -> None:
    client = user_agents.of(text)
    assert (client.browser, client.browser_version, client.os, client.device_type) == (
        browser,
        version,
        os,
        device_type,
    )
    assert client.is_bot == (device_type == "bot")


def test_no_user_agent_is_nobody(user_agents: UserAgents) -> None:
    assert user_agents.of("") == NOBODY


@pytest.mark.parametrize(
    "piece", ["Mozilla/5.0 (", "a" * 7, "; ", "Android ", "()", "HbbTV/1.1.1 (;;;;;) ", "\u4e2d", "1.1."]
)
def test_a_hostile_user_agent_costs_little(user_agents: UserAgents, piece: str) -> None:
    hostile = [(piece * 8192)[:8190] + f"{n:02d}" for n in range(50)]
    began = time.process_time()
    for text in hostile:
        user_agents.of(text)
    # Cut, they are the same text; parsed whole by backtracking patterns one takes tens of milliseconds.
    assert time.process_time() - began < 0.25
    began = time.process_time()
    for n in range(50):
        user_agents.of(f"{n:02d}" + hostile[0])
    assert (time.process_time() - began) / 50 < 0.02


def test_what_stands_past_the_bound_is_not_looked_at(user_agents: UserAgents) -> None:
    assert user_agents.of("x" * USER_AGENT_MAX + " Googlebot/2.1") == user_agents.of("x" * USER_AGENT_MAX)
