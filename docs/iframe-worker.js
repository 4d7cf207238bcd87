// Search without a server: browsers refuse workers to pages that are opened from the file system, so a hidden frame does
// the worker's job there. On a server, nothing changes. Part of the site's `offline` plugin looks for this file's name.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.waiting = []
      frame.addEventListener("load", () => {
        const inner = frame.contentWindow
        // The worker's code answers with the global postMessage.
        inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        const script = inner.document.createElement("script")
        script.src = url
        script.addEventListener("load", () => {
          this.inner = inner
          this.waiting.splice(0).forEach(data => this.postMessage(data))
        })
        inner.document.head.append(script)
      }, { once: true })
      document.documentElement.append(frame)
    }

    postMessage(data) {
      if (this.inner) this.inner.dispatchEvent(new MessageEvent("message", { data }))
      else this.waiting.push(data)
    }

    terminate() {}
  }
}
