// What mongodb-setup.js has of mongosh, with a server of which only the answers are there: node mongosh.js SCRIPT SECRETS STATE
//
// STATE is a file of JSON: `replicaSet`, null before it is made; `users` by name; `elections`, how often `hello` is asked before
// there is a primary; `refusal`, an error that replSetGetStatus answers with. It is written back with the `commands`.
const fs = require("fs");
const vm = require("vm");

const [script, secrets, stateFile] = process.argv.slice(2);
const state = { commands: [], ...JSON.parse(fs.readFileSync(stateFile, "utf8")) };
let now = 0;

const refused = (codeName, code) => Object.assign(new Error(codeName), { codeName, code });

class Admin {
  runCommand(command) {
    const [name] = Object.keys(command);
    state.commands.push(name);
    if (name === "replSetGetStatus") {
      if (state.refusal) throw refused("Refused", state.refusal);
      if (!state.replicaSet) throw refused("NotYetInitialized", 94);
    } else if (name === "replSetInitiate") {
      if (state.replicaSet) throw refused("AlreadyInitialized", 23);
      state.replicaSet = command.replSetInitiate;
    } else if (name === "hello") {
      return { ok: 1, isWritablePrimary: Boolean(state.replicaSet) && state.elections-- <= 0 };
    } else {
      throw refused("CommandNotFound", 59);
    }
    return { ok: 1 };
  }
  getUser(name) {
    return state.users[name] ?? null;
  }
  createUser({ user, ...account }) {
    if (state.users[user]) throw refused("UserAlreadyExists", 51003);
    state.users[user] = account;
  }
  updateUser(user, account) {
    if (!state.users[user]) throw refused("UserNotFound", 11);
    state.users[user] = account;
  }
}

class Mongo {
  constructor(url) {
    state.url = url;
  }
  getDB(name) {
    if (name !== "admin") throw new Error(`not ${name}`);
    return new Admin();
  }
}

const mounted = { readFileSync: (path, encoding) => fs.readFileSync(path.replace(/^\/run\/secrets/, secrets), encoding) };
try {
  vm.runInNewContext(fs.readFileSync(script, "utf8"), {
    Mongo,
    URL,
    Date: { now: () => now },
    sleep: (milliseconds) => (now += milliseconds),
    print: console.log,
    require: (name) => ({ fs: mounted })[name],
  });
} finally {
  fs.writeFileSync(stateFile, JSON.stringify(state));
}
