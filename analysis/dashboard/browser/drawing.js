// Draws strokes on an image and sends them, in its pixels, to the server, which checks them and makes the mask.
const INK = "#d55e00"; // the colour with which `predict_upload.with_hole_outline` marks a rectangle

export default function ({ data, parentElement, setStateValue }) {
  const board = parentElement.querySelector(".board");
  if (board.instance) return board.instance.show(data); // the page was run again: keep what was drawn
  const image = board.querySelector("img");
  const canvas = board.querySelector("canvas");
  const brush = board.querySelector("input");
  const size = board.querySelector("output");
  const undo = board.querySelector(".undo");
  const clear = board.querySelector(".clear");
  const ink = canvas.getContext("2d");
  let strokes = [];
  let drawn = null; // the current stroke
  let pointer = null; // id of the pointer that draws it
  let room = 0; // maximum number of points in it

  function paint() {
    ink.setTransform(canvas.width / data.width, 0, 0, canvas.height / data.height, 0, 0);
    ink.clearRect(0, 0, data.width, data.height);
    ink.strokeStyle = ink.fillStyle = INK;
    ink.lineCap = ink.lineJoin = "round";
    for (const stroke of drawn ? [...strokes, drawn] : strokes) {
      const [[x, y], ...rest] = stroke.points;
      ink.beginPath();
      ink.arc(x, y, stroke.brush / 2, 0, 2 * Math.PI);
      ink.fill();
      ink.lineWidth = stroke.brush;
      ink.beginPath();
      ink.moveTo(x, y);
      for (const [across, down] of rest) ink.lineTo(across, down);
      ink.stroke();
    }
    undo.disabled = clear.disabled = !strokes.length;
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const inside = (share, side) => Math.round(Math.min(Math.max(share, 0), 1) * side * 10) / 10;
    return [
      inside((event.clientX - box.left) / box.width, data.width),
      inside((event.clientY - box.top) / box.height, data.height),
    ];
  }

  function add(event) {
    const step = Math.max(0.5, Math.max(data.width, data.height) / 400);
    for (const one of event.getCoalescedEvents?.() ?? []) put(at(one), step);
    put(at(event), step);
  }

  function put(point, step) {
    const last = drawn.points[drawn.points.length - 1];
    const far = !last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= step;
    if (far && room > drawn.points.length) drawn.points.push(point);
  }

  function send() {
    paint();
    setStateValue("strokes", strokes);
  }

  canvas.onpointerdown = (event) => {
    room = data.most_points - strokes.reduce((sum, stroke) => sum + stroke.points.length, 0);
    if (drawn || event.button !== 0 || strokes.length >= data.most_strokes || room < 1) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    drawn = { brush: Number(brush.value), points: [] };
    add(event);
    paint();
  };
  canvas.onpointermove = (event) => {
    if (!drawn || event.pointerId !== pointer) return;
    add(event);
    paint();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (!drawn || event.pointerId !== pointer) return;
    strokes = [...strokes, drawn];
    drawn = null;
    send();
  };
  brush.oninput = () => (size.value = `${brush.value} px`);
  undo.onclick = () => {
    strokes = strokes.slice(0, -1);
    send();
  };
  clear.onclick = () => {
    strokes = [];
    send();
  };

  function show(given) {
    data = given;
  }

  const longest = Math.max(data.width, data.height);
  image.src = data.image;
  image.classList.toggle("small", longest < data.shown);
  board.querySelector(".stage").style.width = `${Math.round((data.shown * data.width) / longest)}px`;
  canvas.width = Math.round((2 * data.shown * data.width) / longest);
  canvas.height = Math.round((2 * data.shown * data.height) / longest);
  brush.max = data.widest;
  brush.value = Math.max(1, Math.round(longest / 12));
  brush.oninput();
  strokes = data.strokes;
  board.instance = { show };
  paint();
}
