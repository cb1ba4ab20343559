// Takes files, or folders of them, that are dropped or chosen, and sends them one by one.
export default {
  template: `
    <div class="file-drop" :class="{ over }" role="group" :aria-label="label"
      @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="onDrop">
      <span>{{ label }}</span>
      <span class="file-drop-buttons">
        <button type="button" @click="$refs.files.click()">{{ multiple ? "choose files" : "choose a file" }}</button>
        <button v-if="multiple" type="button" @click="$refs.folder.click()">choose a folder</button>
      </span>
      <input ref="files" type="file" hidden :accept="accept" :multiple="multiple" :aria-label="label" @change="onChosen">
      <input ref="folder" type="file" hidden webkitdirectory :aria-label="label" @change="onChosen">
      <progress v-if="total > 1" :value="sent" :max="total" aria-label="files sent"></progress>
    </div>`,
  props: { url: String, label: String, accept: String, multiple: Boolean, autoUpload: Boolean, maxFileSize: Number, maxFiles: Number },
  data() {
    return { over: false, sent: 0, total: 0 };
  },
  methods: {
    onChosen(event) {
      const files = [...event.target.files];
      event.target.value = "";
      this.send(files);
    },
    async onDrop(event) {
      this.over = false;
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry);
      const files = [];
      for (const entry of entries) await this.collect(entry, files);
      this.send(files);
    },
    async collect(entry, files) {
      if (entry.isFile) {
        files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      } else if (this.multiple) {
        const reader = entry.createReader();
        for (;;) {
          const found = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
          if (!found.length) break; // it gives a hundred at a time
          for (const inside of found) await this.collect(inside, files);
        }
      }
    },
    async send(chosen) {
      const known = this.accept.split(",");
      const wanted = chosen.filter((file) => file.name[0] !== "." && known.some((suffix) => file.name.toLowerCase().endsWith(suffix)));
      const files = wanted.filter((file) => file.size <= this.maxFileSize);
      const most = this.multiple ? this.maxFiles : 1;
      if (files.length > most || files.length < (chosen.length > 1 ? 1 : chosen.length)) {
        this.$emit("rejected");
        return;
      }
      const place = (file) => file.webkitRelativePath || file.name;
      files.sort((a, b) => place(a).localeCompare(place(b), undefined, { numeric: true }));
      this.total += files.length;
      this.$emit("begin", { files: files.length });
      if (files.length < wanted.length) this.$emit("failed");
      const before = this.turn; // what was dropped earlier goes first
      this.turn = this.post(files, before);
    },
    async post(files, before) {
      await before;
      for (const file of files) {
        const form = new FormData();
        form.append("file", file, file.name);
        let isSent = false;
        try {
          isSent = (await fetch((window.path_prefix || "") + this.url, { method: "POST", body: form })).ok;
        } catch {} // told below
        if (!isSent) this.$emit("failed");
        this.sent += 1;
      }
      if (this.sent === this.total) this.sent = this.total = 0;
      this.$emit("finish");
    },
  },
};
