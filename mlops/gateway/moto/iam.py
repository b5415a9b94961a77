"""IAM: what somebody has made, and the roles that nobody had to make.

Credentials and permissions are not checked here, and an SDK asks for whatever role its user names.
So GetRole finds, besides the roles that somebody has created, every other name: as a role which the
services may take. There is one truth about each: a name that was ever created or deleted here is
moto's, and moto alone says what it is. The others are in no list, and nothing can be attached to
them before they are created.

For the others moto is not needed, nor the seconds that it takes to import: starting a pipeline
costs none of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from mlops.gateway.moto.face import MotoFace
from mlops.gateway.moto.journal import Wire
from mlops.gateway.moto.requests import Asked
from mlops.gateway.moto.world import World
from mlops.gateway.protocols import query
from mlops.gateway.router import IAM_NAMESPACE
from mlops.gateway.wire import Environ, Response, StartResponse
from mlops.ports import JsonObject
from mlops.services.sts import implied_role_id

_ROLE_ID = re.compile(rb"<RoleId>(\w+)</RoleId>")
_SERVICE_LINKED = "AWSServiceRoleFor"


class IamFace:
    """The WSGI application of IAM; `own` answers for roles that nobody has created."""

    def __init__(
        self,
        world: World,
        moto: MotoFace,
        own: Callable[[str, JsonObject], JsonObject],
        account: str,
    ) -> None:
        self._world = world
        self._account = account
        self._moto = moto
        self._own = own

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._moto.answer_with(environ, self._answer).send(start_response)

    def _answer(self, environ: Environ, asked: Asked) -> Response:
        environ["wsgi.input"] = io.BytesIO(asked.wire.body)  # it has been read, and may be again
        if asked.operation == "SimulatePrincipalPolicy":
            return query.answer(environ, IAM_NAMESPACE, self._own)
        if asked.operation == "GetRole":
            return self._get_role(environ, asked)
        return self._moto.answer(environ, "iam", asked)

    def _get_role(self, environ: Environ, asked: Asked) -> Response:
        name = query.read_form(environ).get("RoleName", "")
        environ["wsgi.input"] = io.BytesIO(asked.wire.body)
        # The names of service-linked roles are not in the requests that create them.
        if self._world.has("iam", name) or name.startswith(_SERVICE_LINKED):
            return self._moto.answer(environ, "iam", asked)
        return query.answer(environ, IAM_NAMESPACE, self._own)

    def find_role_id(self, arn: str) -> str | None:
        """The id of a role, whoever has created it; None where somebody has deleted it."""
        account, _, path = arn.removeprefix("arn:aws:iam::").partition(":role/")
        name = path.rpartition("/")[2]
        if account != self._account or not self._world.has("iam", name):
            return implied_role_id(arn)
        form = urlencode({"Action": "GetRole", "Version": "2010-05-08", "RoleName": name})
        headers = (("Content-Type", "application/x-www-form-urlencoded"),)
        answer = self._world.ask("iam", "GetRole", Wire("POST", "/", "", headers, form.encode()))
        found = _ROLE_ID.search(answer.body)
        return found[1].decode() if found else None
