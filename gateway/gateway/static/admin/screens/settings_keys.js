// The settings by the tab that they are on: their names in the API, what they are called, a word on each, and bounds.
import { OAuthProviders } from "./settings_oauth.js";

/** {tab: {title, screen}} or {tab: {title, category, groups: [{title, about, keys: {key: [label, hint, min, max]}}]}} */
export const SETTINGS = {
  authentication: {
    title: "Authentication methods",
    category: "auth",
    groups: [
      {
        title: "Authentication methods",
        about: "How members of auth collections sign in. Admins always have their password.",
        keys: {
          password_auth_enabled: ["Password", "E-mail and password."],
          oauth_enabled: ["OAuth2", "Google, GitHub, Microsoft and any OpenID Connect issuer."],
          otp_enabled: ["One-time codes", "Six digits sent by mail."],
          mfa_enabled: ["Second factor", "People may set one up. Those who have one are asked for it in any case."],
        },
      },
    ],
  },
  password: {
    title: "Password policy",
    category: "auth",
    groups: [
      {
        title: "Password policy",
        about: "Asked of every new password. Those in use stay good.",
        keys: {
          password_min_length: ["Shortest length", "In characters.", 1, 128],
          password_max_length: ["Greatest length", "In characters.", 16, 4096],
          password_require_upper: ["An uppercase letter"],
          password_require_lower: ["A lowercase letter"],
          password_require_number: ["A digit"],
          password_require_special: ["A special character"],
          password_block_common: ["Refuse common passwords", "Those that everyone tries first."],
          password_history_count: ["Passwords remembered", "That many cannot be used again; 0 remembers none.", 0, 24],
        },
      },
    ],
  },
  security: {
    title: "Security",
    category: "auth",
    groups: [
      {
        title: "Account lockout",
        keys: {
          account_lockout_enabled: ["Lock accounts after failed logins"],
          account_lockout_attempts: ["Failed attempts before a lock", undefined, 1, 100],
          account_lockout_duration: ["Length of a lock", "In seconds; 1800 is half an hour.", 1, 604800],
        },
      },
      {
        title: "Tokens",
        keys: {
          token_expiry_hours: ["Access tokens live", "In hours.", 1, 720],
          refresh_token_expiry_days: ["Sessions end without use after", "In days.", 1, 365],
        },
      },
    ],
  },
  "rate-limits": {
    title: "Rate limits",
    category: "rate_limits",
    groups: [
      {
        title: "Rate limits",
        about: "Calls a minute, counted over all workers.",
        keys: {
          enabled: ["Limit requests"],
          credentials_per_minute: ["Sign-in, registration, resets and codes", "By address and by account.", 1, 1000000],
          requests_per_minute: ["Everything else", "By caller.", 1, 10000000],
        },
      },
    ],
  },
  mail: { title: "Mail", category: "mail" },
  oauth: { title: "OAuth providers", screen: OAuthProviders },
  general: {
    title: "General",
    category: "general",
    groups: [{ title: "Audit log", keys: { audit_retention_days: ["Events are kept", "In days; 0 keeps them for good.", 0, 36500] } }],
  },
};
