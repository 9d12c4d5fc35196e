"""An e-mail address and a password, a refresh token or an invitation in; tokens, or a refusal that tells nothing, out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final, cast

from query.control.failed_logins import FailedLogins
from query.control.invites import invite_hash
from query.control.passwords import Passwords, check_password
from query.control.refresh_tokens import RefreshToken, new_refresh_token, read_refresh_token
from query.tokens import Principal, Role, Tokens
from storage.actor import Actor
from storage.control_plane import ControlPlane
from storage.memberships import Membership
from storage.scope import OrgScope
from storage.sessions import Session
from storage.users import User
from topics.errors import AegisError, Refused

log = logging.getLogger(__name__)

GRACE_S: Final = 30.0
"""How long a spent refresh token gets its answer again: for a client that lost it, and for two of its requests at once."""
CHOICES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody who came in gets. `expires_in` seconds for the access token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    organization_id: str
    role: str


class SignIn:
    """Logins and what follows from them."""

    def __init__(
        self,
        control_plane: ControlPlane,
        tokens: Tokens,
        passwords: Passwords,
        *,
        access_token_s: int,
        refresh_token_s: int,
        failures: FailedLogins | None = None,
    ) -> None:
        self._control_plane = control_plane
        self._tokens = tokens
        self._passwords = passwords
        self._access_token_s = access_token_s
        self._refresh_token_s = refresh_token_s
        self._failures = failures or FailedLogins()

    async def log_in(self, email: str, password: str, organization_id: str | None, address: str) -> Granted:
        """Begin a session. Raises `Refused`: bad_login; forbidden without a membership (there); choose_organization with several
        and none named; `RateLimited` after too many failures."""
        self._key()
        user, password_hash = await self._checked(email, password, address)
        member = await self._chosen(user, organization_id)
        first = new_refresh_token()
        session_id = await self._control_plane.sessions.begin(
            OrgScope(member.organization_id),
            user.id,
            family_hash=first.family_hash,
            token_hash=first.own_hash,
            lifetime_s=self._refresh_token_s,
            password_hash=password_hash,
        )
        return self._granted(member.organization_id, user.id, member.role, session_id, first)

    async def refresh(self, text: str) -> Granted:
        """Spend a refresh token for the next one. One that was spent ends its session (`Refused`), but for `GRACE_S` seconds in
        which it gets the same answer again, as long as the next one is not spent."""
        key = self._key()
        token = read_refresh_token(text)
        session = None if token is None else await self._control_plane.sessions.find(token.family_hash)
        if token is None or session is None:
            raise _bad_refresh("it is unknown, has expired, or its session has ended")
        following = token.successor(key)
        if token.own_hash == session.token_hash:
            if await self._control_plane.sessions.rotate(
                session.id, token.own_hash, following.own_hash, lifetime_s=self._refresh_token_s
            ):
                return self._continued(session, following)
            session = await self._control_plane.sessions.find(token.family_hash)  # A twin was quicker.
            if session is None:
                raise _bad_refresh("its session has ended")
        if (
            token.own_hash == session.spent_hash
            and following.own_hash == session.token_hash
            and session.rotated_s_ago <= GRACE_S
        ):
            return self._continued(session, following)
        await self._control_plane.sessions.end(session.id)
        log.warning("a spent refresh token of user %s came again; session %s has ended", session.user_id, session.id)
        raise _bad_refresh("it was used before, so that its session has ended")

    async def log_out(self, text: str) -> None:
        """End the session of a refresh token, whichever of its tokens that is. What is none has nothing to end."""
        token = read_refresh_token(text)
        session = None if token is None else await self._control_plane.sessions.find(token.family_hash)
        if session is not None:
            await self._control_plane.sessions.end(session.id)

    async def change_password(self, principal: Principal, current: str, new: str) -> None:
        """Give a user who knows the current password another one, which ends the user's other sessions."""
        if principal.kind != "user":
            raise Refused("cannot change the password: only a user has one; log in first", code="forbidden")
        check_password(new, principal.name, path="new_password")
        user, _ = await self._checked(principal.name, current, principal.address, path="current_password")
        new_hash = await self._passwords.hash(new)
        users = self._control_plane.acting(principal.actor()).users
        await users.set_password_hash(user.id, new_hash, keep_session=principal.session_id)

    async def accept_invite(self, token: str, password: str, address: str) -> User:
        """Let who was invited choose a password, once. Raises `Refused` (bad_login) for a token that is none any more."""
        check_password(password)
        self._failures.charge(address)
        password_hash = await self._passwords.hash(password)
        acting = self._control_plane.acting(Actor("user", name="by invitation", address=address))
        user = await acting.users.accept_invite(invite_hash(token), password_hash)
        if user is None:
            raise Refused("cannot accept the invitation: it is unknown, was used, or has expired", code="bad_login")
        self._failures.give_back(address)
        return user

    async def _checked(self, email: str, password: str, address: str, *, path: str = "") -> tuple[User, str]:
        """The user whose password it is, and its hash.

        Unknown, without a password, disabled or wrong: the same refusal after the same time.
        """
        self._failures.charge(address, email)
        try:
            found = await self._control_plane.users.find_login(email)
            known_hash = None if found is None else found.password_hash
            right = await self._passwords.verify(known_hash, password)
        except AegisError:
            self._failures.give_back(address, email)
            raise
        if not right or found is None or known_hash is None or found.user.disabled:
            raise Refused("cannot log in: the e-mail address or the password is wrong", code="bad_login", path=path)
        self._failures.give_back(address, email)
        if self._passwords.is_outdated(known_hash):
            renewing = self._control_plane.acting(Actor("system", name="new argon2 parameters"))
            new_hash = await self._passwords.hash(password)
            await renewing.users.replace_hash(found.user.id, known_hash, new_hash)
            known_hash = new_hash
        return found.user, known_hash

    async def _chosen(self, user: User, organization_id: str | None) -> Membership:
        memberships = await self._control_plane.memberships.list_of_user(user.id)
        if organization_id is not None:
            memberships = [each for each in memberships if each.organization_id == organization_id]
        if not memberships:
            where = "an organization" if organization_id is None else "this organization"
            raise Refused(f"cannot log in: the user is no member of {where}", code="forbidden")
        if len(memberships) > 1:
            names = [
                (each, (await self._control_plane.organizations.get(each.organization_id)).name)
                for each in memberships[:CHOICES_MAX]
            ]
            raise Refused(
                "cannot log in: the user belongs to several organizations; name one as organization_id",
                code="choose_organization",
                details=tuple(
                    ("organization_id", f"{each.organization_id} {name} ({each.role})") for each, name in names
                ),
            )
        return memberships[0]

    def _continued(self, session: Session, following: RefreshToken) -> Granted:
        return self._granted(session.organization_id, session.user_id, session.role, session.id, following)

    def _granted(self, org_id: str, user_id: str, role: str, session_id: str, refresh: RefreshToken) -> Granted:
        access = self._tokens.issue(
            OrgScope(org_id),
            role=cast(Role, role),
            subject=user_id,
            lifetime_s=self._access_token_s,
            session_id=session_id,
        )
        return Granted(access, str(refresh), self._access_token_s, org_id, role)

    def _key(self) -> bytes:
        """What refresh tokens follow each other by; first of all, because who cannot issue tokens logs nobody in."""
        return self._tokens.key.derived("refresh tokens")


def _bad_refresh(why: str) -> Refused:
    return Refused(f"cannot refresh: the refresh token is no good: {why}; log in again", code="bad_token")
