"""Messages in, messages out: IP rules."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Literal, cast

from google.protobuf.empty_pb2 import Empty

from admin_service import models
from admin_service.ip_rules import IpRules
from fastcms.admin.v1 import ip_rules_pb2, ip_rules_pb2_grpc

Context = Any
PER_PAGE = 100


class IpRulesServicer(ip_rules_pb2_grpc.IpRulesServiceServicer):
    """Which addresses may come in."""

    def __init__(self, rules: IpRules) -> None:
        self._rules = rules

    async def ListIpRules(
        self, request: ip_rules_pb2.ListIpRulesRequest, _: Context
    ) -> ip_rules_pb2.ListIpRulesResponse:
        page = request.page if request.HasField("page") else 1
        per_page = request.per_page if request.HasField("per_page") else PER_PAGE
        found, total = await self._rules.page(request.rule_type, page, per_page)
        return ip_rules_pb2.ListIpRulesResponse(
            items=map(models.ip_rule, found),
            total=total,
            page=page,
            per_page=per_page,
            total_pages=-(-total // per_page),
        )

    async def GetIpRule(self, request: ip_rules_pb2.GetIpRuleRequest, _: Context) -> ip_rules_pb2.IpRule:
        return models.ip_rule(await self._rules.get(request.id))

    async def CreateIpRule(self, request: ip_rules_pb2.CreateIpRuleRequest, _: Context) -> ip_rules_pb2.IpRule:
        rule = await self._rules.create(
            request.cidr,
            cast(Literal["allow", "block"], request.rule_type),
            request.reason if request.HasField("reason") else None,
            request.expires_at.ToDatetime(tzinfo=UTC) if request.HasField("expires_at") else None,
            request.force,
        )
        return models.ip_rule(rule)

    async def DeleteIpRule(self, request: ip_rules_pb2.DeleteIpRuleRequest, _: Context) -> Empty:
        await self._rules.delete(request.id, request.force)
        return Empty()

    async def DeleteExpiredIpRules(
        self, request: ip_rules_pb2.DeleteExpiredIpRulesRequest, _: Context
    ) -> ip_rules_pb2.DeleteExpiredIpRulesResponse:
        return ip_rules_pb2.DeleteExpiredIpRulesResponse(
            deleted=await self._rules.delete_expired(request.fencing_token)
        )
