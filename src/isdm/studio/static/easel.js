// The canvas: shows photograph, mask and brush, and turns pointer and keys into painting.

const SHOWN_PX = 768;
const BACKGROUND = [46, 52, 59];

export class Easel {
  // tool(): {name, size, id, defect, scale}; onChange(): after the mask was changed; onMove(text): where the brush is.
  constructor(canvas, mask, state, tool, onChange, onMove) {
    Object.assign(this, { canvas, mask, state, tool, onChange, onMove });
    this.photo = null;
    this.down = false;
    this.at = { x: Math.floor(mask.width / 2) + 0.5, y: Math.floor(mask.height / 2) + 0.5 };
    this.isShown = false;
    this.zoom = Math.max(1, Math.round(SHOWN_PX / Math.max(mask.width, mask.height)));
    canvas.width = mask.width * this.zoom;
    canvas.height = mask.height * this.zoom;
    this.layer = new OffscreenCanvas(mask.width, mask.height);
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    // A finger paints: the browser must not take its stroke for a swipe, whose end would swallow the next tap.
    canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.lift());
    canvas.addEventListener("pointerleave", () => { if (!this.down) { this.isShown = false; this.draw(); } });
    canvas.addEventListener("focus", () => { this.isShown = true; this.draw(); });
    canvas.addEventListener("blur", () => { this.lift(); this.isShown = false; this.draw(); });
  }

  draw() {
    const { mask, layer, canvas } = this, { classes, first_foreground } = this.state;
    const pen = layer.getContext("2d"), pixels = pen.createImageData(mask.width, mask.height);
    mask.ids.forEach((id, at) => {
      const isGround = id < first_foreground;
      const colour = isGround ? BACKGROUND : classes[id]?.colour ?? [127, 127, 127];
      pixels.data.set([...colour, !this.photo ? 255 : isGround ? 0 : 165], at * 4);
    });
    pen.putImageData(pixels, 0, 0);
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.imageSmoothingEnabled = Boolean(this.photo);
    if (this.photo) brush.drawImage(this.photo, 0, 0, canvas.width, canvas.height);
    brush.imageSmoothingEnabled = false;
    brush.drawImage(layer, 0, 0, canvas.width, canvas.height);
    if (this.isShown) this.#drawBrush(brush);
  }

  #drawBrush(pen) {
    const tool = this.tool(), z = this.zoom, { x, y } = this.at;
    if (tool.name === "defect" && tool.defect) {
      pen.fillStyle = `rgb(${this.state.classes[tool.defect.class].colour} / .75)`;
      for (const [px, py] of this.mask.covered(tool.defect, this.at, tool.scale)) pen.fillRect(px * z, py * z, z, z);
      return;
    }
    const radius = tool.name === "fill" ? 3 : Math.max(tool.size / 2, 0.5) * z;
    for (const [colour, width] of [["#000", 4], [this.down ? "#ffd54a" : "#fff", 2]]) {
      pen.beginPath();
      pen.arc(x * z, y * z, radius, 0, 2 * Math.PI);
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke();
    }
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect(), { width, height } = this.mask;
    const scale = Math.min(box.width / width, box.height / height); // object-fit: contain leaves bars
    return {
      x: (event.clientX - box.left - (box.width - width * scale) / 2) / scale,
      y: (event.clientY - box.top - (box.height - height * scale) / 2) / scale,
    };
  }

  #press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.isShown = true;
    this.at = this.#point(event);
    this.#touch();
  }

  #drag(event) {
    this.isShown = true;
    this.moveTo(this.#point(event));
  }

  // Put the brush down where it is.
  #touch() {
    const tool = this.tool();
    this.mask.remember();
    if (tool.name === "fill") this.mask.fill(this.at, tool.id);
    else if (tool.name === "defect") { if (tool.defect) this.mask.put(tool.defect, this.at, tool.scale); }
    else {
      this.down = true;
      this.#stroke(this.at);
    }
    this.draw();
    this.onChange();
  }

  lift() {
    this.down = false;
    this.draw();
  }

  #stroke(to) {
    const tool = this.tool();
    this.mask.line(this.at, to, tool.size, tool.name === "eraser" ? null : tool.id);
  }

  moveTo(to) {
    if (this.down) {
      this.#stroke(to);
      this.onChange();
    }
    this.at = to;
    this.draw();
  }

  // A key on the canvas; false where it means nothing here.
  key(event) {
    const far = event.shiftKey ? 8 : 1;
    const ways = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
    if (event.key in ways) {
      const [dx, dy] = ways[event.key], inside = (value, most) => Math.min(Math.max(value, 0.5), most - 0.5);
      this.isShown = true;
      this.moveTo({ x: inside(this.at.x + dx, this.mask.width), y: inside(this.at.y + dy, this.mask.height) });
      this.onMove(`Brush at ${Math.floor(this.at.x)}, ${Math.floor(this.at.y)}${this.down ? ", painting" : ""}.`);
      return true;
    }
    if (event.key !== " " && event.key !== "Enter") return false;
    if (this.down) this.lift();
    else this.#touch();
    this.onMove(this.down ? "Brush down: the arrow keys paint." : "Brush up.");
    return true;
  }
}
