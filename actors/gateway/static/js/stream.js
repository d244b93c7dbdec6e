// One WebSocket of /v1/stream: subscriptions, snapshots and changes (docs/api.md), reconnecting for ever.

const RETRY_MS = [250, 500, 1000, 2000, 5000];

/** `patch` (RFC 7396) applied to `target`. */
export function merged(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const result = target && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

export class Stream {
  /** `live(flag)` hears whether there is a connection. */
  constructor(url, live) {
    this.url = url;
    this.live = live;
    this.channels = new Map(); // name -> {hear, state, seq}
    this.failures = 0;
    this.next = 1;
    this.connect();
  }

  /** `hear(state)` is called for every new state of the channel; the function returned ends that. */
  subscribe(name, hear) {
    this.channels.set(name, { hear, state: null, seq: null });
    this.send("public/subscribe", [name]);
    return () => {
      this.channels.delete(name);
      this.send("public/unsubscribe", [name]);
    };
  }

  connect() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.failures = 0;
      this.live(true);
      for (const name of this.channels.keys()) this.send("public/subscribe", [name]);
    };
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    this.socket.onclose = () => {
      this.live(false);
      setTimeout(() => this.connect(), RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
    };
  }

  send(method, channels) {
    if (this.socket.readyState === WebSocket.OPEN)
      this.socket.send(JSON.stringify({ jsonrpc: "2.0", id: this.next++, method, params: { channels } }));
  }

  hear({ method, params }) {
    const channel = method === "subscription" && this.channels.get(params.channel);
    if (!channel) return;
    const { type, seq, prev_seq: before, data, patch } = params.data;
    if (type === "change" && before !== channel.seq) {
      if (channel.seq !== null) this.send("public/subscribe", [params.channel]); // a gap: a new snapshot
      channel.seq = null;
      return;
    }
    channel.seq = seq;
    channel.state = type === "snapshot" ? data : merged(channel.state, patch);
    channel.hear(channel.state);
  }
}
