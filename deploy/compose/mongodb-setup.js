// For mongosh: makes the replica set and the services' users as their storage URLs name them. Run at every start:
// what is there already is brought in line, so that a new password in a URL takes effect.
const fs = require("fs");

const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();
const NOT_YET_INITIALIZED = 94;
const PATIENCE_MS = 60_000;

const root = encodeURIComponent(secret("mongodb-root-password"));
const admin = new Mongo(`mongodb://root:${root}@mongodb:27017/?authSource=admin&directConnection=true`).getDB("admin");

try {
  admin.runCommand({ replSetGetStatus: 1 });
} catch (error) {
  if (error.code !== NOT_YET_INITIALIZED) throw error;
  admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } });
}

const until = Date.now() + PATIENCE_MS;
while (!admin.runCommand({ hello: 1 }).isWritablePrimary) {
  if (Date.now() > until) throw new Error("the replica set has no primary");
  sleep(200);
}

for (const service of ["auth", "collections", "admin", "scheduler"]) {
  const url = new URL(secret(`storage-url-${service}`));
  const user = decodeURIComponent(url.username);
  // Each service adds its name to the database of its URL.
  const account = {
    pwd: decodeURIComponent(url.password),
    roles: [{ role: "readWrite", db: `${url.pathname.slice(1) || "fastcms"}_${service}` }],
  };
  if (admin.getUser(user)) admin.updateUser(user, account);
  else admin.createUser({ user, ...account });
}
print("mongodb is set up");
