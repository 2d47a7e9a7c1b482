// A mask of class ids. Every pixel has exactly one id: nothing here is ever blended, so no colour has to be guessed.

const MOST_UNDONE = 100;

export class Mask {
  constructor(height, width) {
    this.height = height;
    this.width = width;
    this.base = new Uint8Array(height * width);
    this.ids = this.base.slice();
    this.used = new Set();
    this.past = [];
    this.future = [];
  }

  // Start anew over what a photograph shows already.
  reset(base) {
    this.base = Uint8Array.from(base);
    this.clear();
    this.past = [];
    this.future = [];
  }

  // Numbers of the defects that were put down belong to the mask: each step back or forth takes them along.
  get #now() { return { ids: this.ids.slice(), used: new Set(this.used) }; }

  clear() {
    this.ids = this.base.slice();
    this.used.clear();
  }

  // To be called before something changes that can be undone.
  remember() {
    this.past.push(this.#now);
    if (this.past.length > MOST_UNDONE) this.past.shift();
    this.future = [];
  }

  undo() { return this.#step(this.past, this.future); }

  redo() { return this.#step(this.future, this.past); }

  #step(from, to) {
    if (!from.length) return false;
    to.push(this.#now);
    Object.assign(this, from.pop());
    return true;
  }

  #set(x, y, id) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const at = y * this.width + x;
    this.ids[at] = id === null ? this.base[at] : id;
  }

  // All pixels whose middle is within half of `size` of the line between two points; null gives back the base.
  line(from, to, size, id) {
    const radius = Math.max(size / 2, 0.5);
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) * 2));
    for (let step = 0; step <= steps; step++) {
      const cx = from.x + (to.x - from.x) * step / steps, cy = from.y + (to.y - from.y) * step / steps;
      this.#set(Math.floor(cx), Math.floor(cy), id);
      for (let y = Math.floor(cy - radius); y <= cy + radius; y++) {
        for (let x = Math.floor(cx - radius); x <= cx + radius; x++) {
          if (Math.hypot(x + 0.5 - cx, y + 0.5 - cy) <= radius) this.#set(x, y, id);
        }
      }
    }
  }

  // Everything of one class that hangs together with a pixel; nothing where the point is beside the mask.
  fill(at, id) {
    const column = Math.floor(at.x), row = Math.floor(at.y);
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return;
    const start = row * this.width + column, old = this.ids[start];
    if (old === id) return;
    const open = [start];
    while (open.length) {
      const here = open.pop();
      if (this.ids[here] !== old) continue;
      this.ids[here] = id;
      const x = here % this.width;
      if (x > 0) open.push(here - 1);
      if (x < this.width - 1) open.push(here + 1);
      if (here >= this.width) open.push(here - this.width);
      if (here < this.ids.length - this.width) open.push(here + this.width);
    }
  }

  // The pixels that a defect covers when its middle is at a point, scaled by nearest neighbour.
  *covered(defect, at, scale) {
    const height = Math.max(1, Math.round(defect.rows.length * scale));
    const width = Math.max(1, Math.round(defect.rows[0].length * scale));
    const top = Math.round(at.y - height / 2), left = Math.round(at.x - width / 2);
    for (let y = 0; y < height; y++) {
      const row = defect.rows[Math.floor((y + 0.5) / height * defect.rows.length)];
      for (let x = 0; x < width; x++) {
        if (row[Math.floor((x + 0.5) / width * row.length)] === "1") yield [left + x, top + y];
      }
    }
  }

  put(defect, at, scale) {
    for (const [x, y] of this.covered(defect, at, scale)) this.#set(x, y, defect.class);
    this.used.add(defect.number);
  }

  get isTouched() { return this.ids.some((id, at) => id !== this.base[at]); }

  toText() {
    let text = "";
    for (let at = 0; at < this.ids.length; at += 8192) text += String.fromCharCode(...this.ids.subarray(at, at + 8192));
    return btoa(text);
  }

  fromText(text, used) {
    const ids = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    if (ids.length === this.ids.length) Object.assign(this, { ids, used: new Set(used) });
  }
}
