"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const el = (id) => document.getElementById(id);
const COLOURS = ["#4a90d9", "#e07b39", "#3fa66b", "#b05cc6", "#d9534f", "#8d8d3f", "#2bb0b5", "#c9578c", "#7d7d7d"];
const MARGIN = { left: 52, right: 8, top: 6, bottom: 18 };
let episode = null, time = 0, playing = false, videos = [], panels = [];

function make(tag, parent, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  parent.appendChild(node);
  return node;
}

function outcome(e) { return e.success === null ? "" : e.success ? "\u2713" : "\u2717"; }

function matches(e, words) {
  const text = [e.index, e.task, e.success === false ? "failed" : "", e.findings.length ? "found" : "", ...e.notes.map((n) => n.text)].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function fillList() {
  const words = el("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  el("list").replaceChildren();
  for (const e of data.episodes.filter((one) => matches(one, words))) {
    const item = make("li", el("list"));
    item.dataset.index = e.index;
    item.title = e.task;
    make("b", item, e.index);
    make("span", item, e.task);
    if (e.findings.length) make("i", item, "\u26a0", "failed");
    make("i", item, outcome(e), e.success === false ? "failed" : "");
    item.onclick = () => show(e);
  }
  mark();
}

function mark() {
  for (const item of el("list").children) item.classList.toggle("chosen", episode && item.dataset.index == episode.index);
  document.querySelector("li.chosen")?.scrollIntoView({ block: "nearest" });
}

function show(e, at = 0) {
  episode = e; time = Math.max(0, Math.min(at, e.seconds)); pause();
  el("task").textContent = `episode ${e.index}: ${e.task}`;
  el("outcome").textContent = e.success === null ? "" : e.success ? "succeeded" : "failed";
  el("outcome").className = e.success === false ? "serious" : "";
  el("findings").replaceChildren();
  for (const f of e.findings) {
    const line = make("p", el("findings"), `${f.time.toFixed(2)} s  ${f.stream}  ${f.kind}: ${f.text}`, f.severity);
    line.onclick = () => seek(f.time);
  }
  for (const n of e.notes) {
    const line = make("p", el("findings"), `${n.time.toFixed(2)} s  note: ${n.text}`);
    line.onclick = () => seek(n.time);
  }
  el("videos").replaceChildren();
  videos = e.videos.map((v) => {
    const figure = make("figure", el("videos"));
    const video = make("video", figure);
    video.muted = true; video.preload = "auto"; video.playsInline = true;
    video.src = v.source;
    video.onloadeddata = () => place(video, v);
    const caption = make("figcaption", figure, v.name);
    video.onerror = () => { caption.textContent = `${v.name}: this browser cannot show ${v.source.slice(0, 80)}`; };
    return { video, from: v.start, to: v.end };
  });
  el("plots").replaceChildren();
  panels = e.panels.map(addPanel);
  location.replace(`#${e.index}`);
  mark(); draw();
}

function place(video, v) { video.currentTime = Math.min(v.start + time + 0.001, v.end - 0.001); }

function addPanel(panel) {
  const box = make("div", el("plots"), undefined, "panel");
  make("h2", box, panel.title);
  const legend = make("span", box, undefined, "legend");
  const shown = panel.curves.map(() => true);
  const labels = panel.curves.map((curve, i) => {
    const label = make("span", legend);
    label.style.color = COLOURS[i % COLOURS.length];
    label.onclick = () => { shown[i] = !shown[i]; label.classList.toggle("off", !shown[i]); draw(); };
    return label;
  });
  const canvas = make("canvas", box);
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    seek(Math.max(0, Math.min(1, share)) * episode.seconds);
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); pause(); point(event); };
  canvas.onpointermove = (event) => { if (event.buttons) point(event); };
  return { panel, canvas, labels, shown };
}

function range(panel, shown) {
  const values = panel.curves.flatMap((curve, i) => (shown[i] ? curve.values : [])).filter((v) => v !== null);
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  if (low > high) return [0, 1];
  const space = high > low ? (high - low) * 0.06 : Math.max(Math.abs(high) * 0.1, 0.5);
  return [low - space, high + space];
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-12; v += step) out.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return { at: out, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function drawPanel({ panel, canvas, labels, shown }) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale; canvas.height = height * scale;
  const g = canvas.getContext("2d"), style = getComputedStyle(document.body);
  g.scale(scale, scale);
  const [low, high] = range(panel, shown);
  const x = (t) => MARGIN.left + (t / episode.seconds) * (width - MARGIN.left - MARGIN.right);
  const y = (v) => height - MARGIN.bottom - ((v - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  g.font = "11px system-ui, sans-serif"; g.lineWidth = 1;
  g.strokeStyle = style.getPropertyValue("--line"); g.fillStyle = style.getPropertyValue("--weak");
  const vertical = ticks(low, high, 4), across = ticks(0, episode.seconds, 8);
  g.beginPath(); g.textAlign = "right"; g.textBaseline = "middle";
  for (const v of vertical.at) { g.moveTo(MARGIN.left, y(v)); g.lineTo(width - MARGIN.right, y(v)); g.fillText(vertical.digits > 4 ? v.toPrecision(2) : v.toFixed(vertical.digits), MARGIN.left - 5, y(v)); }
  g.textBaseline = "alphabetic";
  for (const t of across.at) {
    g.moveTo(x(t), MARGIN.top); g.lineTo(x(t), height - MARGIN.bottom);
    g.textAlign = t === 0 ? "left" : x(t) > width - 30 ? "right" : "center";
    g.fillText(`${t.toFixed(across.digits)} s`, x(t), height - 4);
  }
  g.stroke();
  panel.curves.forEach((curve, i) => {
    if (!shown[i]) return;
    g.strokeStyle = COLOURS[i % COLOURS.length]; g.lineWidth = 1.4; g.beginPath();
    let pen = false;
    curve.values.forEach((v, k) => {
      if (v === null) { pen = false; return; }
      if (pen) g.lineTo(x(k * episode.step), y(v)); else g.moveTo(x(k * episode.step), y(v));
      pen = true;
    });
    g.stroke();
    const limit = panel.limits[i];
    if (limit !== null && limit !== undefined && limit < high) { g.setLineDash([4, 3]); g.beginPath(); g.moveTo(MARGIN.left, y(limit)); g.lineTo(width - MARGIN.right, y(limit)); g.stroke(); g.setLineDash([]); }
  });
  g.lineWidth = 1;
  for (const f of episode.findings) { g.fillStyle = f.severity === "serious" ? "#d9534f" : "#e0a339"; g.fillRect(x(f.time) - 1, MARGIN.top, 2, 8); }
  g.strokeStyle = style.color; g.beginPath(); g.moveTo(x(time), MARGIN.top); g.lineTo(x(time), height - MARGIN.bottom); g.stroke();
  const row = Math.min(Math.round(time / episode.step), panel.curves[0].values.length - 1);
  panel.curves.forEach((curve, i) => {
    const v = curve.values[row];
    const shortened = v === null ? "-" : Math.abs(v) < 1e-4 * (high - low) ? 0 : Number(v.toPrecision(3));
    labels[i].textContent = `${curve.name} ${shortened}`;
  });
}

function draw() {
  el("clock").textContent = `${time.toFixed(2)} of ${episode.seconds.toFixed(2)} s`;
  panels.forEach(drawPanel);
}

function seek(t) {
  time = Math.max(0, Math.min(t, episode.seconds));
  for (const { video, from, to } of videos) if (video.readyState) place(video, { start: from, end: to });
  draw();
}

function pause() {
  playing = false; el("play").textContent = "play";
  for (const { video } of videos) video.pause();
}

function toggle() {
  if (playing) { pause(); return; }
  if (time >= episode.seconds - 0.02) seek(0);
  playing = true; el("play").textContent = "pause";
  for (const { video } of videos) video.play().catch(() => {});
  let last = performance.now();
  const tick = (now) => {
    if (!playing) return;
    const lead = videos.find(({ video }) => video.readyState > 1 && !video.paused);
    time = lead ? Math.max(time, lead.video.currentTime - lead.from) : time + (now - last) / 1000;
    last = now;
    if (time >= episode.seconds - 0.5 / 30) { time = episode.seconds; pause(); }
    draw();
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function neighbour(step) {
  const listed = [...el("list").children].map((item) => Number(item.dataset.index));
  const next = listed[Math.max(0, Math.min(listed.length - 1, listed.indexOf(episode.index) + step))];
  const found = data.episodes.find((e) => e.index === next);
  if (found) show(found);
}

el("summary").textContent = data.summary.join("\n");
el("filter").oninput = fillList;
el("previous").onclick = () => neighbour(-1);
el("next").onclick = () => neighbour(1);
el("play").onclick = toggle;
window.onresize = draw;
window.onkeydown = (event) => {
  if (event.target.tagName === "INPUT") return;
  const action = { ArrowLeft: () => neighbour(-1), ArrowRight: () => neighbour(1), " ": toggle }[event.key];
  if (action) { event.preventDefault(); action(); }
};
fillList();
const [, wanted, at] = location.hash.match(/^#(\d+)(?:@([\d.]+))?$/) || [];  // such as #3@1.5: episode and time
show(data.episodes.find((e) => e.index === Number(wanted)) || data.episodes[0], Number(at) || 0);
