// A picture with a drawing on top. All pictures of the page show the same part of their frames, and the same place.
// Places are shares of the frame: (0, 0) is its top left corner, (1, 1) its bottom right one.
const LARGEST = 64;

export default {
  template: `
    <div class="linked-image" tabindex="0" role="group" :aria-label="label + ', picture that can be zoomed'"
      :style="{ aspectRatio: width + ' / ' + height, touchAction: scale > 1 ? 'none' : 'pan-y' }"
      @wheel="onWheel" @pointerdown="onDown" @pointermove="onMove" @pointerup="onUp" @pointerleave="onLeave"
      @dblclick.prevent="zoom(2, place($event))" @keydown="onKey">
      <img v-if="src" :src="src" :alt="label" :style="{ transform: moved }" draggable="false">
      <svg aria-hidden="true" :viewBox="seen" preserveAspectRatio="none" :style="{ '--zoom': scale }" v-html="content"></svg>
      <div v-if="at" class="linked-cursor" :style="{ left: 100 * (at.u - x) * scale + '%', top: 100 * (at.v - y) * scale + '%' }">
      </div>
    </div>`,
  props: { src: String, content: String, label: String, width: Number, height: Number },
  data() {
    return { scale: 1, x: 0, y: 0, at: null, drag: null };
  },
  computed: {
    moved() {
      return `translate(${-100 * this.scale * this.x}%, ${-100 * this.scale * this.y}%) scale(${this.scale})`;
    },
    seen() {
      const [width, height] = [this.width, this.height];
      return `${this.x * width} ${this.y * height} ${width / this.scale} ${height / this.scale}`;
    },
  },
  mounted() {
    this.listener = (event) => Object.assign(this, event.detail);
    window.addEventListener("linked-view", this.listener);
    if (window.linkedView) Object.assign(this, window.linkedView);
  },
  beforeUnmount() {
    window.removeEventListener("linked-view", this.listener);
  },
  methods: {
    tell(detail) {
      window.dispatchEvent(new CustomEvent("linked-view", { detail }));
    },
    show(scale, x, y) {
      scale = Math.min(Math.max(scale, 1), LARGEST);
      const inside = (left) => Math.min(Math.max(left, 0), 1 - 1 / scale);
      window.linkedView = { scale, x: inside(x), y: inside(y) };
      this.tell(window.linkedView);
    },
    // Share of what is seen, not of the frame.
    place(event) {
      const box = this.$el.getBoundingClientRect();
      return { u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height };
    },
    inFrame({ u, v }) {
      return { u: this.x + u / this.scale, v: this.y + v / this.scale };
    },
    zoom(factor, at = { u: 0.5, v: 0.5 }) {
      const fixed = this.inFrame(at);
      const scale = Math.min(Math.max(this.scale * factor, 1), LARGEST);
      this.show(scale, fixed.u - at.u / scale, fixed.v - at.v / scale);
    },
    centre(at) {
      const scale = Math.max(this.scale, 4);
      this.show(scale, at.u - 0.5 / scale, at.v - 0.5 / scale);
      this.tell({ at });
    },
    point(at) {
      this.tell({ at });
      this.$emit("at", at);
    },
    onWheel(event) {
      if (!event.ctrlKey && document.activeElement !== this.$el) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.place(event));
    },
    onDown(event) {
      this.drag = { ...this.place(event), x: this.x, y: this.y, far: false };
      this.$el.setPointerCapture(event.pointerId);
    },
    onMove(event) {
      const at = this.place(event);
      if (this.drag) {
        this.drag.far ||= Math.hypot(at.u - this.drag.u, at.v - this.drag.v) > 0.01;
        const [dx, dy] = [(this.drag.u - at.u) / this.scale, (this.drag.v - at.v) / this.scale];
        if (this.drag.far) this.show(this.scale, this.drag.x + dx, this.drag.y + dy);
      }
      this.point(this.inFrame(at));
    },
    onUp(event) {
      const isClick = this.drag && !this.drag.far;
      this.drag = null;
      if (isClick) this.$emit("pick", this.inFrame(this.place(event)));
    },
    onLeave() {
      if (!this.drag) this.tell({ at: null });
    },
    onKey(event) {
      const step = 0.1 / this.scale;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "+" || event.key === "=") this.zoom(2);
      else if (event.key === "-") this.zoom(0.5);
      else if (event.key === "0") this.show(1, 0, 0);
      else if (event.key === "Enter") this.$emit("pick", this.inFrame({ u: 0.5, v: 0.5 }));
      else if (moves[event.key] && this.scale > 1) {
        this.show(this.scale, this.x + moves[event.key][0], this.y + moves[event.key][1]);
      } else return;
      event.preventDefault();
      this.$nextTick(() => this.point(this.inFrame({ u: 0.5, v: 0.5 })));
    },
  },
};
