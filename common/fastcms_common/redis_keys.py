"""Every key in Redis: what it holds, how long it lives, who writes it.

Names start with the noun they belong to. Keys that one Lua script touches together share a `{tag}`, so that a Redis
cluster keeps them in one slot.
"""

from __future__ import annotations

# Sessions. Written by auth-service alone; every process reads them, and writes down that they are in use.
#   session:{sid}          hash; TTL: the session's absolute end
#   session-events:{sid}   list of what became of its refresh tokens, the newest first; TTL: the longest life of a
#                          session and 30 days
#   sessions:{user id}     sorted set of the user's session ids by start; TTL: that of the longest session
#   session-revoked        pub/sub channel; a message is the id of a session that has ended
SESSION_REVOKED = "session-revoked"


def session(session_id: str) -> str:
    return f"session:{session_id}"


def sessions_of(user_id: str) -> str:
    return f"sessions:{user_id}"


def session_events(session_id: str) -> str:
    return f"session-events:{session_id}"


# Sign-in failures. Written by auth-service alone.
#   lockout:{realm}:{key of the e-mail}   hash; TTL: the lock's duration, or a day after the last failure
def lockout(realm: str, account: str) -> str:
    return f"lockout:{realm}:{account}"


# One-time codes. Written by auth-service alone.
#   otp:{realm}:{key of the e-mail}         hash of a code and its wrong tries; TTL: ten minutes
#   otp-tries:{realm}:{key of the e-mail}   count of wrong tries over all codes; TTL: an hour
def one_time_code(realm: str, account: str) -> str:
    return f"otp:{{{realm}:{account}}}"


def one_time_code_tries(realm: str, account: str) -> str:
    return f"otp-tries:{{{realm}:{account}}}"


# Signing in by OAuth2. Written by auth-service alone.
#   oauth-state:{hash of the state}            what a sign-in that has begun needs when it comes back; TTL: ten minutes
#   oauth-proof:{hash of state and code}       who has come back and owes a second factor; TTL: five minutes
def oauth_state(state_hash: str) -> str:
    return f"oauth-state:{state_hash}"


def oauth_proof(proof_hash: str) -> str:
    return f"oauth-proof:{proof_hash}"


# Events. Streams, trimmed by their consumer once every group has acknowledged.
#   events:audit           anything worth auditing; written by all, read by admin-service
#   events:collections     records of auth collections and collections that went away; written by collections-service,
#                          read by auth-service
#   events:mail-requests   what people ask to be mailed; written and read by auth-service, so that asking for a mail
#                          takes the same time whether or not there is an account
AUDIT_EVENTS = "events:audit"
#   {stream}:refused       what its consumer could not take, set aside for a person; no TTL
COLLECTION_EVENTS = "events:collections"
MAIL_REQUESTS = "events:mail-requests"


def refused(stream: str) -> str:
    return f"{stream}:refused"


# Schemas. Written by collections-service.
#   collections-changed    pub/sub channel; a message is the id of a collection whose schema, rules or name changed
COLLECTIONS_CHANGED = "collections-changed"


# Announcements. Written by all that listen to the channel, read by the process that announced something.
#   heard:{id}             list of those who have taken note of the message that names it behind a blank; TTL: 10 s
def heard(announcement: str) -> str:
    return f"heard:{announcement}"


# Settings. Written by the service that owns the category.
#   settings               hash: category -> the values in force, as `live_settings.encode` writes them; no TTL
#   settings-changed       pub/sub channel; a message is the category
SETTINGS = "settings"
SETTINGS_CHANGED = "settings-changed"

# The audit log. Written by admin-service alone.
#   audit:checkpoint       hash: the newest signed statement of how far the log had come; no TTL
AUDIT_CHECKPOINT = "audit:checkpoint"

# Jobs. Written by scheduler-service's beats and workers alone.
#   celery:*               Celery's queue and what it knows of messages that are not acknowledged yet
#   redbeat:*              RedBeat's copy of the schedules, and the lock of the one beat that is in charge
CELERY_PREFIX = "celery:"
# Of kombu's making: the list of messages that wait, and the hash of those that a worker has taken.
CELERY_QUEUE = f"{CELERY_PREFIX}runs"
CELERY_TAKEN = f"{CELERY_PREFIX}unacked"
REDBEAT_PREFIX = "redbeat:"

# Which addresses may come in. Written by admin-service alone, read by every gateway worker.
#   {ip-rules}:rules       hash: id of a rule -> the rule as `address_rules.encode` writes it; no TTL
#   {ip-rules}:version     counts the changes; no TTL. Missing: nothing was ever published, or Redis lost it
#   ip-rules-changed       pub/sub channel; a message is the new version
IP_RULES = "{ip-rules}:rules"
IP_RULES_VERSION = "{ip-rules}:version"
IP_RULES_CHANGED = "ip-rules-changed"


# Rate limits. Written by the gateway's workers, which count as one.
#   {rate}:{limit}:{whom}  Unix microseconds at which the caller has used nothing up any more; TTL: until then
def rate(limit: str, whom: str) -> str:
    return f"{{rate}}:{limit}:{whom}"


# What a backup takes with it: events that are not in a database yet, and how far the audit log had come. The rest is
# made anew from the databases, or is better forgotten: a session that was ended must not come back from the dead.
BACKED_UP = ("events:*", AUDIT_CHECKPOINT)
# Everything above, as patterns: what must not be there, or has to go, when a backup is put back.
ALL = (
    *("session:*", "sessions:*", "session-events:*", "lockout:*", "otp:*", "otp-tries:*", "oauth-state:*"),
    *("oauth-proof:*", "events:*", SETTINGS, "audit:*", f"{CELERY_PREFIX}*", f"{REDBEAT_PREFIX}*", "{ip-rules}:*"),
    "{rate}:*",
)
