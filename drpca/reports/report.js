'use strict';
// Names of files and methods reach the page as text nodes alone, never as markup.
const $ = id => document.getElementById(id);
const root = document.documentElement;
const COLOURS = {
  light: ['#0b6fc2', '#c8500a', '#0a8560', '#a33b85', '#8a6d00', '#4a4f57'],
  dark: ['#5aa9f0', '#ff9a57', '#4fcda4', '#e08cc6', '#e3c14d', '#b9c0ca'],
};
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash'];
const SYMBOLS = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'pentagon'];
const CROP = 24, CASES = 12, ROWS = 300;
let data, pictures, preset = 0;
let target, found;  // name of a column of targets, of detections → its number

const make = (tag, text = '', more = {}) => Object.assign(document.createElement(tag), {textContent: text}, more);
const shown = (value, digits) =>
  value === null || value === undefined ? '-' : Math.abs(value) > 1e300 ? '∞' : value.toFixed(digits);
async function unpacked(id) {
  const text = atob($(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}
const results = () => data.results[preset];

// Charts, drawn one after the other so that the page stays quick, before they are looked at or printed.

const pending = new Map();
let plotly, turn = 0;

async function draw(id) {
  const build = pending.get(id);
  if (!build) return;
  pending.delete(id);
  plotly ??= unpacked('plotly').then(code => document.head.append(make('script', code)));
  await plotly;
  const {traces, layout, click} = build(), style = getComputedStyle(root), colour = name => style.getPropertyValue(name);
  const axis = {gridcolor: colour('--edge'), zerolinecolor: colour('--edge'), linecolor: colour('--edge')};
  await Plotly.react(id, traces, {
    ...layout, paper_bgcolor: colour('--panel'), plot_bgcolor: colour('--panel'), hovermode: 'closest',
    font: {family: 'system-ui, sans-serif', size: 12, color: colour('--soft')}, margin: {l: 58, r: 12, t: 8, b: 48},
    hoverlabel: {align: 'left', namelength: -1}, legend: {orientation: 'h', y: -0.2}, showlegend: true,
    xaxis: {...axis, ...layout.xaxis}, yaxis: {...axis, ...layout.yaxis},
  }, {responsive: true, displaylogo: false, modeBarButtonsToRemove: ['lasso2d', 'select2d']});
  const chart = $(id);
  chart.setAttribute('role', 'figure');
  chart.setAttribute('aria-label', chart.parentElement.querySelector('h3').textContent + ': chart; the tables have its figures');
  chart.removeAllListeners('plotly_click');
  if (click) chart.on('plotly_click', event => click(event.points[0].customdata));
}

function chart(id, build) {
  const drawn = build();
  $('card-' + id).hidden = !drawn.traces.length;
  if (!drawn.traces.length) return;
  pending.set(id, build);
}

async function drawAll() {
  const mine = ++turn;
  delete root.dataset.drawn;
  for (const id of [...pending.keys()]) {
    await draw(id);
    await new Promise(done => setTimeout(done));
    if (mine !== turn) return;
  }
  for (const canvas of document.querySelectorAll('#cases canvas')) await paint(canvas);
  if (mine === turn) root.dataset.drawn = '';
}

// The first lines and marks are the widest and lie below, so that those that coincide are all seen.
const look = i => {
  const colour = COLOURS[root.dataset.theme][i % 6], size = Math.max(5, 10 - 2 * i);
  return {
    line: {color: colour, dash: DASHES[i % 5], width: Math.max(1.5, 5 - 1.2 * i)},
    marker: {color: colour, size, symbol: SYMBOLS[i % 6] + (i ? '-open' : ''), line: {width: 1.5, color: colour}},
  };
};
const star = (i, x, y, text) => ({
  x: [x], y: [y], text: [text], hovertemplate: '%{text}<extra></extra>', mode: 'markers', showlegend: false, legendgroup: i,
  marker: {...look(i).marker, symbol: 'star', size: 16, line: {width: 1, color: 'black'}},
});
const clean = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');  // Plotly reads some tags
const folded = text => clean(text).replace(': ', '<br>').replaceAll(', ', '<br>');

function drawCharts() {
  const curves = data.curves[data.presets[preset].curves], names = data.methods.map(clean);
  const has = curves.flatMap((curve, i) => curve ? [[curve, i, results()[i].own]] : []);
  const power = values => Math.floor(Math.log10(Math.min(...values, 1)));
  const lowest = (...lists) => 10 ** (power(lists.flat().filter(v => v > 0)) - 0.3);
  if ($('free_response')) {
    chart('free_response', () => {
      const low = lowest(...has.map(([c]) => c.free_response.fa), has.flatMap(([, , own]) => own ? [own.fa] : []));
      const top = 10 ** Math.ceil(Math.log10(Math.max(1e-5, ...has.flatMap(([c]) => c.free_response.fa))));
      const traces = has.flatMap(([curve, i, own]) => {
        const {fa, pd, text} = curve.free_response, x = fa.map(v => Math.max(v, low));
        const group = {legendgroup: i, hovertemplate: '%{text}<extra></extra>'}, style = look(i);
        const steps = {
          ...group, ...style, name: names[i], x: [...x, top], y: [...pd, pd.at(-1)], mode: 'lines+markers',
          text: [...text.map(t => names[i] + '<br>' + folded(t)), names[i] + ': no higher Pd at a higher Fa'],
        };
        steps.line = {...style.line, shape: 'hv'};
        steps.marker = {...style.marker, opacity: [...pd.map(() => 1), 0]};
        const foot = {
          ...group, x: [x[0], x[0]], y: [0, pd[0]], mode: 'lines', showlegend: false, line: {...style.line, dash: 'dot', width: 1.5},
          text: Array(2).fill(`${names[i]}<br>not reached below Fa ${fa[0]}:<br>wherever anything is predicted, there are more`),
        };
        return [steps, ...(fa[0] > 0 ? [foot] : []), ...(own ? [star(i, Math.max(own.fa, low), own.pd, `${names[i]}, preset<br>${folded(own.text)}`)] : [])];
      });
      return {traces, layout: {
        xaxis: {type: 'log', title: {text: 'Fa, false-alarm pixels / pixels'}, exponentformat: 'power', range: [Math.log10(low) - 0.1, Math.log10(top)]},
        yaxis: {title: {text: 'Pd'}, range: [-0.02, 1.04]},
      }};
    });
    chart('precision_recall', () => ({
      traces: has.flatMap(([curve, i, own]) => {
        const {recall, precision, threshold} = curve.precision_recall, style = look(i);
        return [{
          name: names[i], legendgroup: i, x: recall, y: precision, customdata: threshold, mode: 'lines', line: {...style.line, shape: 'vh'},
          hovertemplate: `${names[i]}<br>recall %{x}<br>precision %{y}<br>${curve.scale} %{customdata}<extra></extra>`,
        }, ...(own ? [star(i, own.recall, own.precision, `${names[i]}, preset<br>${folded(own.text)}`)] : [])];
      }),
      layout: {xaxis: {title: {text: 'recall'}, range: [0, 1.02]}, yaxis: {title: {text: 'precision'}, range: [0, 1.04]}},
    }));
    for (const scale of ['logit', 'score']) {
      const swept = has.filter(([curve]) => curve.scale === scale);
      const worth = swept.flatMap(([{sweep}]) => sweep.threshold.filter((_, k) => sweep.f1[k] > 0.01));
      const ends = worth.length ? [Math.min(...worth), Math.max(...worth)] : [0, 1], margin = 0.03 * (ends[1] - ends[0]) || 0.1;
      chart('sweep_' + scale, () => ({
        traces: swept.flatMap(([curve, i]) => {
          const {threshold, f1, best} = curve.sweep, style = look(i);
          return [{
            name: names[i], legendgroup: i, x: threshold, y: f1, mode: 'markers', marker: {...style.marker, size: Math.max(3, 7 - i)},
            hovertemplate: `${names[i]}<br>${scale} %{x}<br>F1 %{y}<extra></extra>`,
          }, star(i, best[0], best[1], `${names[i]}, best F1 ${shown(100 * best[1], 2)} %<br>${folded(best[2])}`)];
        }),
        layout: {xaxis: {title: {text: 'threshold, ' + scale}, range: [ends[0] - margin, ends[1] + margin]}, yaxis: {title: {text: 'F1'}, range: [0, 1.04]}},
      }));
    }
    chart('published_roc', () => {
      const low = lowest(...has.map(([c]) => c.published_roc.fa));
      return {
        traces: has.map(([curve, i]) => ({
          name: names[i], ...look(i), mode: 'markers', x: curve.published_roc.fa.map(v => Math.max(v, low)), y: curve.published_roc.pd,
          customdata: curve.published_roc.fa, hovertemplate: `${names[i]}<br>false-alarm rate %{customdata}<br>Pd %{y}<extra></extra>`,
        })),
        layout: {
          xaxis: {type: 'log', title: {text: 'false-alarm rate over the background'}, exponentformat: 'power'},
          yaxis: {title: {text: 'Pd'}, range: [-0.02, 1.04]},
        },
      };
    });
  }
  chart('visibility', () => {
    const at = v => Math.min(Math.max(v ?? 0, 0.03), 1e4), all = [];
    data.methods.forEach((_, method) => Object.entries(results()[method].images).forEach(([image, {rows = []}]) =>
      rows.forEach(row => all.push({method, image: +image, row}))));
    const trace = (points, name, marker) => ({
      name, mode: 'markers', marker, x: points.map(p => at(p.row[target.snr])), y: points.map(p => p.row[target.area]),
      customdata: points.map(p => [p.image, p.row[target.row], p.row[target.column]]),
      text: points.map(p => `${names[p.method]}: ${p.row[target.hit] ? 'hit' : 'missed'}<br>${clean(data.images[p.image][0])}<br>`
        + `${p.row[target.area]} px, SNR ${shown(p.row[target.snr], 1)}, highest score ${shown(p.row[target.score], 2)}`),
      hovertemplate: '%{text}<extra></extra>',
    });
    const hits = new Map(all.filter(p => p.row[target.hit]).map(p => [p.image + ' ' + p.row.slice(0, 2), p]));
    return {
      traces: !all.length ? [] : [
        trace([...hits.values()], 'found by some method', {color: 'gray', size: 4, opacity: 0.5}),
        ...data.methods.map((_, i) => trace(all.filter(p => p.method === i && !p.row[target.hit]), names[i] + ' misses',
          {...look(i).marker, size: Math.max(7, 15 - 3 * i), symbol: SYMBOLS[i % 6] + '-open'})),
      ],
      layout: {xaxis: {type: 'log', title: {text: 'local SNR (0.03 and less at the left)'}}, yaxis: {type: 'log', title: {text: 'size in pixels'}}},
      click: ([image, row, col]) => openViewer(image, row, col),
    };
  });
  if ($('pairs')) {
    chart('pairs', () => {
      const first = results()[0].images;
      return {
        traces: data.methods.slice(1).flatMap((_, k) => {
          const second = results()[k + 1].images, both = Object.keys(first).filter(i => second[i] && first[i].iou !== null && second[i].iou !== null);
          return !both.length ? [] : [{
            name: names[k + 1], mode: 'markers', x: both.map(i => first[i].iou), y: both.map(i => second[i].iou), customdata: both.map(Number),
            text: both.map(i => clean(data.images[i][0])), marker: {...look(k + 1).marker, opacity: 0.7},
            hovertemplate: `%{text}<br>${names[0]} %{x}<br>${names[k + 1]} %{y}<extra></extra>`,
          }];
        }),
        layout: {
          xaxis: {title: {text: 'IoU, ' + names[0]}, range: [-0.04, 1.04]}, yaxis: {title: {text: 'IoU of the others'}, range: [-0.04, 1.04]},
          shapes: [{type: 'line', x0: 0, y0: 0, x1: 1, y1: 1, line: {color: 'gray', width: 1}}],
        },
        click: image => openViewer(image),
      };
    });
  }
}

// Pictures as grey levels, decoded when they are looked at.

const decoded = new Map();
async function levels(text, kind) {
  if (!text) return null;
  const image = new Image();
  image.src = `data:image/${kind};base64,${text}`;
  await image.decode();
  const canvas = make('canvas', '', {width: image.naturalWidth, height: image.naturalHeight});
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.drawImage(image, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  return {canvas, width: canvas.width, height: canvas.height, values: pixels.data.filter((_, i) => i % 4 === 0)};
}
function picturesOf(image) {
  pictures ??= JSON.parse($('pictures').textContent);
  const of = pictures[image];
  if (!of) return null;
  if (!decoded.has(image)) {
    if (decoded.size > 60) decoded.delete(decoded.keys().next().value);
    const kind = of.frame.startsWith('UklG') ? 'webp' : 'png';
    decoded.set(image, Promise.all([levels(of.frame, kind), levels(of.mask, 'png'), ...of.maps.split(',').map(map => levels(map, 'png'))])
      .then(([frame, mask, ...maps]) => ({frame, mask, maps, shape: of.shape.split(',').map(Number)})));
  }
  return decoded.get(image);
}
const hasPicture = image => (pictures ??= JSON.parse($('pictures').textContent), image in pictures);
const scoringShape = shape => data.presets[preset].size ? Array(2).fill(data.presets[preset].size) : shape;

// Cases: misses and false alarms of each method.

const painter = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => paint(e.target)),
  {rootMargin: '300px'});

async function paint(canvas) {
  painter.unobserve(canvas);
  if (!canvas.place) return;
  const {image, method, row, col, shape} = canvas.place, of = await picturesOf(image);
  canvas.place = null;
  if (!of) return;
  const pen = canvas.getContext('2d'), [height, width] = scoringShape(of.shape), side = canvas.height;
  pen.imageSmoothingEnabled = false;
  [of.frame, of.maps[method]].forEach((picture, k) => {
    pen.save();
    pen.beginPath();
    pen.rect(k * (side + 4), 0, side, side);
    pen.clip();
    const scale = side / (2 * CROP + 1), x = k * (side + 4) + side / 2 - (col + 0.5) * scale, y = side / 2 - (row + 0.5) * scale;
    if (picture) pen.drawImage(picture.canvas, x, y, width * scale, height * scale);
    pen.translate(k * (side + 4) + side / 2, side / 2);
    mark(pen, shape, 6 * scale);
    pen.restore();
  });
}

const offCentre = row => row[target.off_centre] === null ? '' : `, detected ${shown(row[target.off_centre], 1)} px away`;

function drawCases() {
  $('cases').replaceChildren();
  data.methods.forEach((name, method) => {
    const misses = [], alarms = [];
    let left = 0;
    for (const [image, of] of Object.entries(results()[method].images)) {
      (of.rows ?? []).filter(row => !row[target.hit]).forEach(row => misses.push({image: +image, row}));
      (of.detections ?? []).filter(row => row[found.is_false]).forEach(row => alarms.push({image: +image, row}));
      left += of.left_out ?? 0;
    }
    misses.sort((a, b) => (b.row[target.snr] ?? 0) - (a.row[target.snr] ?? 0));
    const peak = row => [row[found.logit] ?? -1e308, row[found.score]];
    alarms.sort((a, b) => {
      const area = b.row[found.area] - a.row[found.area], [x, y] = [peak(a.row), peak(b.row)];
      const sure = y[0] - x[0] || y[1] - x[1];
      return $('order').value === 'area' ? area || sure : sure || area;
    });
    const sure = row => (row[3] === null ? '' : `, highest score ${shown(row[3], 2)}`) + (row[4] === null ? '' : `, logit ${shown(row[4], 2)}`);
    cases(name, method, 'misses, most visible first', misses, 'miss',
      row => `${row[target.area]} px, SNR ${shown(row[target.snr], 1)}, highest score ${shown(row[target.score], 2)}`
        + (row[target.logit] === null ? '' : `, logit ${shown(row[target.logit], 2)}`) + offCentre(row));
    const order = $('order').value === 'area' ? 'largest first' : 'surest first';
    cases(name, method, 'false alarms, ' + order, alarms, 'false',
      row => `${row[found.area]} px${sure(row)}${data.verdicts[row[found.verdict]] === 'fragment' ? ', fragment of a hit' : ''}`,
      left ? `; of images with more than 50 detections the smallest, ${left} in all, are left out` : '');
  });
}

function cases(name, method, title, events, shape, words, more = '') {
  const box = $('cases'), heading = make('h3'), grid = make('div', '', {className: 'gallery'});
  const button = make('button', 'Show 24 more', {type: 'button', className: 'more'});
  let count = 0;
  const add = n => {
    for (const {image, row} of events.slice(count, count + n)) {
      const text = `${data.images[image][0]}: ${words(row)}`, figure = make('figure'), open = make('button', '', {type: 'button'});
      open.setAttribute('aria-label', 'Open ' + text);
      if (hasPicture(image)) {
        const canvas = make('canvas', '', {width: 404, height: 200});
        canvas.place = {image, method, row: row[0], col: row[1], shape};
        open.append(canvas);
        painter.observe(canvas);
      } else {
        open.append(make('span', 'no picture: list of verdicts', {className: 'open'}));
      }
      open.addEventListener('click', () => openViewer(image, row[0], row[1]));
      figure.append(open, make('figcaption', text));
      grid.append(figure);
    }
    count = Math.min(count + n, events.length);
    heading.textContent = `${name}: ${title} (${count} of ${events.length}${more})`;
    button.hidden = count >= events.length;
  };
  add(CASES);
  button.addEventListener('click', () => add(24));
  box.append(heading, grid);
  if (!events.length) box.append(make('p', 'None.', {className: 'note'}));
  box.append(button);
}

// Table of images.

let sorted = null, all = false;
function tableRows() {
  const wanted = $('filter').value.toLowerCase();
  const rows = data.methods.flatMap((name, method) => Object.entries(results()[method].images).map(([image, of]) =>
    ({image: +image, error: of.misses || of.false, cells: [name, data.images[image][0], of.iou === null ? null : 100 * of.iou, of.targets, of.misses, of.false]})));
  const kept = rows.filter(({image, error, cells}) => (cells[0] + ' ' + cells[1]).toLowerCase().includes(wanted)
    && (error || !$('errors').checked) && (!$('pictured').checked || hasPicture(image)));
  if (sorted) {
    const [at, sign] = sorted, order = new Intl.Collator(undefined, {numeric: true}).compare;
    kept.sort((a, b) => sign * (at < 2 ? order(a.cells[at], b.cells[at]) : (a.cells[at] ?? -1) - (b.cells[at] ?? -1)));
  }
  return [kept, rows.length];
}
function drawTable() {
  const [rows, count] = tableRows(), body = $('per-image').tBodies[0], part = all ? rows : rows.slice(0, ROWS);
  body.replaceChildren(...part.map(({image, cells: [name, title, ...numbers]}) => {
    const line = make('tr'), link = make('td', '', {className: 'text'}), open = make('button', title, {type: 'button'});
    open.addEventListener('click', () => openViewer(image));
    link.append(open);
    line.append(make('td', name, {className: 'text'}), link, ...numbers.map((n, i) => make('td', shown(n, i ? 0 : 2))));
    return line;
  }));
  $('shown').textContent = `${part.length} of ${rows.length === count ? count : rows.length + ' chosen of ' + count} rows`;
  $('all-rows').hidden = part.length === rows.length;
}
const heads = [...document.querySelectorAll('#per-image th')];
heads.forEach((head, at) => head.firstChild.addEventListener('click', () => {
  sorted = [at, sorted && sorted[0] === at ? -sorted[1] : 1];
  heads.forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', sorted[1] > 0 ? 'ascending' : 'descending');
  drawTable();
}));
$('filter').addEventListener('input', drawTable);
['errors', 'pictured'].forEach(id => $(id).addEventListener('change', drawTable));
$('all-rows').addEventListener('click', () => { all = true; drawTable(); });

// The viewer: frame, mask and maps of one image, moved together. Places are shares of the sides.

const view = {image: null, x: 0.5, y: 0.5, zoom: 1};
let tiles = [];

function mark(pen, shape, r) {
  const name = shape === 'hit' ? '--good' : shape === 'miss' ? '--miss' : shape === 'false' ? '--bad' : '--part';
  const bright = {'--good': '#35e08a', '--miss': '#ffd24d', '--bad': '#ff5c50', '--part': '#cf9dff'}[name];
  pen.beginPath();
  if (shape === 'hit') pen.arc(0, 0, r, 0, 7);
  else if (shape === 'false') pen.rect(-r, -r, 2 * r, 2 * r);
  else if (shape === 'miss') { pen.moveTo(0, -1.4 * r); pen.lineTo(1.3 * r, r); pen.lineTo(-1.3 * r, r); pen.closePath(); }
  else { pen.moveTo(0, -1.4 * r); pen.lineTo(1.4 * r, 0); pen.lineTo(0, 1.4 * r); pen.lineTo(-1.4 * r, 0); pen.closePath(); }
  for (const [colour, width] of [['black', 3.5], [bright, 1.8]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.stroke();
  }
}
const shapeOf = verdict => ({hit: 'hit', 'false alarm': 'false'})[data.verdicts[verdict]] ?? 'fragment';

const marksOf = list => !list ? [] : [
  ...(list.rows ?? []).filter(row => !row[target.hit]).map(row => ['miss', row[0], row[1], row[target.area]]),
  ...(list.detections ?? []).map(row => [shapeOf(row[found.verdict]), row[0], row[1], row[found.area]]),
];

function openViewer(image, row = null, col = null, zoom = null) {
  view.image = image;
  view.pending = row === null ? null : [row, col];
  view.zoom = zoom ?? (row === null ? 1 : 5);
  view.x = view.y = 0.5;
  if (!$('viewer').open) $('viewer').showModal();
  return fillViewer();
}

async function fillViewer() {
  const image = view.image, [name, of] = data.images[image];
  $('viewer-name').textContent = `${name} (${of})`;
  $('viewer-preset').value = preset;
  const parts = await picturesOf(image);
  if (view.image !== image) return;
  $('no-picture').hidden = parts !== null;
  const lists = data.methods.map((_, i) => results()[i].images[image]), marks = lists.map(marksOf);
  tiles = [];
  $('tiles').replaceChildren();
  if (parts) {
    const shape = scoringShape(parts.shape);
    if (view.pending) [view.y, view.x] = view.pending.map((v, k) => (v + 0.5) / shape[k]);
    addTile('frame', parts.frame, parts.shape, [], shape, 'level of 255');
    addTile('mask', parts.mask, parts.shape, [], shape, 'label');
    data.methods.forEach((method, i) => lists[i] && addTile(method, parts.maps[i], parts.shape, marks[i], shape, 'score'));
  }
  view.pending = null;
  verdicts(lists);
  paintTiles();
  readOut(null);
  link();
}

function addTile(title, picture, shape, marks, scoring, unit) {
  const figure = make('figure'), canvas = make('canvas', '', {tabIndex: 0});
  const caption = make('figcaption'), value = make('output', '\u00a0');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', title + (picture ? '' : ': no picture'));
  caption.append(make('b', title), value);
  figure.append(canvas, caption);
  $('tiles').append(figure);
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = Math.max(40, Math.round(canvas.width * shape[0] / shape[1]));
  tiles.push({canvas, picture, marks, scoring, value, unit, shape});
  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 300), place(canvas, event));
  }, {passive: false});
  canvas.addEventListener('pointerdown', event => { canvas.setPointerCapture(event.pointerId); canvas.from = [event.clientX, event.clientY]; });
  canvas.addEventListener('pointerup', () => { canvas.from = null; link(); });
  canvas.addEventListener('pointermove', event => {
    if (canvas.from) {
      view.x -= (event.clientX - canvas.from[0]) / canvas.clientWidth / view.zoom;
      view.y -= (event.clientY - canvas.from[1]) / canvas.clientHeight / view.zoom;
      canvas.from = [event.clientX, event.clientY];
      paintTiles();
    }
    readOut(place(canvas, event));
  });
  canvas.addEventListener('pointerleave', () => readOut(null));
}
const clamp = v => Math.min(Math.max(v, 0.5 / view.zoom), 1 - 0.5 / view.zoom);
const place = (canvas, event) => {
  const box = canvas.getBoundingClientRect();
  return [view.x + ((event.clientX - box.left) / box.width - 0.5) / view.zoom, view.y + ((event.clientY - box.top) / box.height - 0.5) / view.zoom];
};
function zoomAt(factor, [x, y] = [view.x, view.y]) {
  const zoom = Math.min(Math.max(view.zoom * factor, 1), 60);
  view.x = x + (view.x - x) * view.zoom / zoom;
  view.y = y + (view.y - y) * view.zoom / zoom;
  view.zoom = zoom;
  paintTiles();
  clearTimeout(view.timer);
  view.timer = setTimeout(link, 200);
}

function stretched({picture, unit}, asked) {
  if (!asked || unit === 'label') return picture.canvas;
  if (!picture.stretched) {
    const canvas = make('canvas', '', {width: picture.width, height: picture.height}), pen = canvas.getContext('2d');
    const content = pen.createImageData(picture.width, picture.height), order = Uint8Array.from(picture.values).sort();
    const [low, high] = unit === 'score' ? [0, 255] : [order[Math.floor(order.length * 0.005)], order[Math.floor(order.length * 0.995)]];
    picture.values.forEach((value, i) => {
      const share = Math.min(Math.max((value - low) / Math.max(high - low, 1), 0), 1);
      content.data.fill(Math.round(255 * (unit === 'score' ? share ** 0.4 : share)), 4 * i, 4 * i + 3);
      content.data[4 * i + 3] = 255;
    });
    pen.putImageData(content, 0, 0);
    picture.stretched = canvas;
  }
  return picture.stretched;
}

function paintTiles(cursor = null) {
  view.x = clamp(view.x);
  view.y = clamp(view.y);
  for (const tile of tiles) {
    const {canvas, picture, marks, scoring} = tile, pen = canvas.getContext('2d'), {width, height} = canvas;
    const at = (x, y) => [((x - view.x) * view.zoom + 0.5) * width, ((y - view.y) * view.zoom + 0.5) * height];
    pen.imageSmoothingEnabled = false;
    pen.fillStyle = '#444';
    pen.fillRect(0, 0, width, height);
    if (picture) pen.drawImage(stretched(tile, $('stretch').checked), ...at(0, 0), width * view.zoom, height * view.zoom);
    if ($('marks').checked) {
      for (const [shape, row, col, area] of marks) {
        pen.save();
        pen.translate(...at((col + 0.5) / scoring[1], (row + 0.5) / scoring[0]));
        mark(pen, shape, 6 + (Math.sqrt(area) / 2 + 1) / scoring[1] * width * view.zoom);
        pen.restore();
      }
    }
    if (cursor) {
      const [x, y] = at(...cursor);
      pen.strokeStyle = '#fff8';
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, 0); pen.lineTo(x, height); pen.moveTo(0, y); pen.lineTo(width, y);
      pen.stroke();
    }
  }
}

function readOut(cursor) {
  const inside = cursor && cursor.every(v => v >= 0 && v < 1);
  for (const {picture, value, unit} of tiles) {
    value.textContent = '\u00a0';
    if (!picture) value.textContent = 'no picture';
    else if (inside) {
      const level = picture.values[Math.floor(cursor[1] * picture.height) * picture.width + Math.floor(cursor[0] * picture.width)];
      value.textContent = unit === 'score' ? `score ${(level / 255).toFixed(3)}` : unit === 'label' ? (level ? 'target' : 'background') : `${level} of 255`;
    }
  }
  const shape = tiles[0]?.shape;
  $('readout').textContent = inside ? `row ${Math.floor(cursor[1] * shape[0])}, column ${Math.floor(cursor[0] * shape[1])} of ${shape[0]}×${shape[1]}` : '\u00a0';
  paintTiles(inside ? cursor : null);
}

function verdicts(lists) {
  const rows = [];
  let left = 0;
  lists.forEach((list, method) => {
    if (!list) return;
    (list.rows ?? []).filter(row => !row[target.hit]).forEach(row => rows.push([method, 'miss' + offCentre(row), 'miss', row[0], row[1], row[target.area], row[target.snr], row[target.score], row[target.logit]]));
    (list.detections ?? []).forEach(row => {
      const verdict = data.verdicts[row[found.verdict]], text = verdict === 'fragment' ? 'fragment of a hit' : verdict;
      rows.push([method, text, shapeOf(row[found.verdict]), row[0], row[1], row[found.area], undefined, row[found.score], row[found.logit]]);
    });
    left += list.left_out ?? 0;
  });
  $('verdicts').tBodies[0].replaceChildren(...rows.map(([method, text, shape, row, col, area, snr, score, logit]) => {
    const line = make('tr'), cell = make('td', '', {className: 'text'}), go = make('button', text, {type: 'button', className: shape});
    go.addEventListener('click', () => openViewer(view.image, row, col, Math.max(view.zoom, 5)));
    cell.append(go);
    line.append(make('td', data.methods[method], {className: 'text'}), cell,
      ...[shown(row, 1), shown(col, 1), area, shown(snr, 1), shown(score, 4), shown(logit, 2)].map(text => make('td', text)));
    return line;
  }));
  const quiet = data.methods.filter((_, i) => lists[i] && !(lists[i].detections ?? []).length && !lists[i].misses);
  $('verdict-note').textContent = `Preset ${data.presets[preset].name} (${data.presets[preset].words}); rows and columns are pixels at that size.`
    + (quiet.length ? ` Nothing to judge: ${quiet.join(', ')}.` : '') + (left ? ` The ${left} smallest detections are left out.` : '');
}

// Links to an image: #image=NAME&preset=NAME&x=0.5&y=0.5&zoom=1, with of=DATA SPLIT.

function link() {
  if (view.image === null || !$('viewer').open) return;
  const [image, of] = data.images[view.image], places = {x: view.x.toFixed(4), y: view.y.toFixed(4), zoom: view.zoom.toFixed(2)};
  history.replaceState(null, '', '#' + new URLSearchParams({image, of, preset: data.presets[preset].name, ...places}));
}
function follow() {
  const asked = new URLSearchParams(location.hash.slice(1)), name = asked.get('image');
  if (name === null) return;
  const named = data.presets.findIndex(p => p.name === asked.get('preset'));
  if (named >= 0 && named !== preset) choose(named);
  const image = data.images.findIndex(([own, of]) => own === name && (!asked.has('of') || of === asked.get('of')));
  if (image < 0) {
    $('broken').textContent = `No image ${name} in this report.`;
    $('broken').hidden = false;
    return;
  }
  const number = (key, other) => Number.isFinite(parseFloat(asked.get(key))) ? parseFloat(asked.get(key)) : other;
  view.image = null;
  openViewer(image, null, null, Math.min(Math.max(number('zoom', 1), 1), 60));
  view.x = number('x', 0.5);
  view.y = number('y', 0.5);
}
addEventListener('hashchange', () => { if (new URLSearchParams(location.hash.slice(1)).get('image') !== null) follow(); });

function step(by) {
  const order = [...new Set(tableRows()[0].map(row => row.image))], at = order.indexOf(view.image);
  if (order.length) openViewer(order[(at + by + order.length) % order.length]);
}
const actions = {
  previous: () => step(-1), next: () => step(1), in: () => zoomAt(1.5), out: () => zoomAt(1 / 1.5),
  whole: () => zoomAt(0), close: () => $('viewer').close(),
};
document.querySelectorAll('[data-do]').forEach(button => button.addEventListener('click', () => actions[button.dataset.do]()));
$('viewer').addEventListener('keydown', event => {
  if (event.target.tagName === 'SELECT') return;
  const [dx, dy] = (event.shiftKey && {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key]) || [0, 0];
  if (dx || dy) {
    event.preventDefault();
    [view.x, view.y] = [view.x + 0.1 * dx / view.zoom, view.y + 0.1 * dy / view.zoom];
    paintTiles();
    link();
    return;
  }
  const action = {ArrowLeft: 'previous', ArrowRight: 'next', '+': 'in', '=': 'in', '-': 'out', 0: 'whole'}[event.key];
  if (action) { event.preventDefault(); actions[action](); }
});
$('viewer').addEventListener('close', () => { view.image = null; history.replaceState(null, '', location.pathname + location.search); });
// What the viewer shows of pictures, the player of sequences shows as well.
[['marks', 'time-marks'], ['stretch', 'time-stretch']].forEach(pair => {
  const boxes = pair.map($).filter(Boolean);
  boxes.forEach(box => box.addEventListener('change', () => {
    boxes.forEach(other => { other.checked = box.checked; });
    paintTiles();
    if (data && $('player')) showMoment();
  }));
});

// Sequences: a frame at a time, moved by the slider, by keys or by itself; below it what became of every frame.

let timer = null, plays = 0;
const bright = name => getComputedStyle(root).getPropertyValue(name);
const counted = (method, image) => {
  const of = results()[method].images[image];
  return of ? {targets: of.targets, misses: of.misses, hits: of.targets - of.misses, alarms: of.alarms ?? 0} : null;
};
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;
const outcome = of => !of ? 'not in its results'
  : [of.targets ? `${of.hits} of ${many(of.targets, 'target', 'targets')} hit` : 'no target', ...(of.alarms ? [many(of.alarms, 'false alarm', 'false alarms')] : [])].join(', ');
const sequence = () => data.sequences[+$('sequence').value];

function openSequence(number) {
  $('sequence').value = number;
  $('time').max = sequence().images.length - 1;
  $('time').value = 0;
  drawStrips();
  return showMoment();
}

async function showMoment() {
  const {images} = sequence(), at = +$('time').value, image = images[at], name = data.images[image][0];
  const words = data.methods.map((method, i) => `${method}: ${outcome(counted(i, image))}`).join('; ');
  const text = `frame ${at + 1} of ${images.length}, ${name}. ${words}`;
  $('time').setAttribute('aria-valuetext', text);
  drawCursor();
  const parts = await picturesOf(image);
  if (image !== sequence().images[+$('time').value]) return;
  $('time-text').textContent = text + (parts ? '' : '. No picture of this frame: it did not fit into the page');
  const titles = ['frame', 'mask', ...data.methods], box = $('moment');
  if (box.children.length !== titles.length) {
    box.replaceChildren(...titles.map(title => {
      const figure = make('figure'), open = make('button', '', {type: 'button'});
      open.append(make('canvas'));
      open.addEventListener('click', () => openViewer(sequence().images[+$('time').value]));
      figure.append(open, make('figcaption', title));
      return figure;
    }));
  }
  const shape = parts ? parts.shape : box.shape ?? [256, 256], scoring = scoringShape(shape);
  box.shape = shape;
  [...box.children].forEach((figure, k) => {
    const canvas = figure.querySelector('canvas'), method = k - 2, pen = canvas.getContext('2d');
    const picture = parts && [parts.frame, parts.mask, ...parts.maps][k], unit = ['level', 'label'][k] ?? 'score';
    figure.querySelector('button').setAttribute('aria-label', `Open ${titles[k]} of ${name}`);
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = Math.max(40, Math.round(canvas.width * shape[0] / shape[1]));
    pen.imageSmoothingEnabled = false;
    pen.fillStyle = '#444';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (picture) pen.drawImage(stretched({picture, unit}, $('time-stretch').checked), 0, 0, canvas.width, canvas.height);
    if (method < 0 || !$('time-marks').checked) return;
    for (const [shape, row, col, area] of marksOf(results()[method].images[image])) {
      pen.save();
      pen.translate((col + 0.5) / scoring[1] * canvas.width, (row + 0.5) / scoring[0] * canvas.height);
      mark(pen, shape, 6 * devicePixelRatio + (Math.sqrt(area) / 2 + 1) / scoring[1] * canvas.width);
      pen.restore();
    }
  });
}

function drawStrips() {
  const {images} = sequence();
  $('strips').replaceChildren(...data.methods.map((name, method) => {
    const figure = make('figure'), canvas = make('canvas'), all = images.map(image => counted(method, image)).filter(Boolean);
    const sum = key => all.reduce((total, of) => total + of[key], 0);
    const words = `${name}: ${sum('hits')} of ${many(sum('targets'), 'target', 'targets')} hit, `
      + `${many(sum('alarms'), 'false alarm', 'false alarms')} in ${many(all.filter(of => of.alarms).length, 'frame', 'frames')}`;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', words + '; a column a frame');
    canvas.addEventListener('click', event => {
      const box = canvas.getBoundingClientRect();
      $('time').value = Math.floor((event.clientX - box.left) / box.width * images.length);
      showMoment();
    });
    canvas.method = method;
    figure.append(make('figcaption', words), canvas);
    return figure;
  }));
}

function drawCursor() {
  const {images} = sequence(), at = +$('time').value;
  const most = Math.max(1, ...data.methods.flatMap((_, i) => images.map(image => counted(i, image)?.alarms ?? 0)));
  document.querySelectorAll('#strips canvas').forEach(canvas => {
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = 44 * devicePixelRatio;
    canvas.style.height = '44px';
    const pen = canvas.getContext('2d'), step = canvas.width / images.length, middle = canvas.height / 2, gap = step > 4 ? 1 : 0;
    pen.lineWidth = Math.max(1, devicePixelRatio);
    images.forEach((image, k) => {
      const of = counted(canvas.method, image), x = k * step;
      if (!of) return;
      if (of.targets && !of.misses) {
        pen.fillStyle = bright('--good');
        pen.fillRect(x, 2, step - gap, middle - 3);
      } else if (of.targets) {
        pen.strokeStyle = bright('--miss');
        pen.strokeRect(x + 0.5, 3, Math.max(step - gap - 1, 1), middle - 5);
      }
      pen.fillStyle = bright('--bad');
      if (of.alarms) pen.fillRect(x, middle + 1, step - gap, Math.max(3, (middle - 3) * Math.sqrt(of.alarms / most)));
    });
    pen.fillStyle = bright('--soft');
    pen.fillRect(0, middle - 0.5, canvas.width, 1);
    pen.strokeStyle = bright('--ink');
    pen.lineWidth = 2 * devicePixelRatio;
    pen.strokeRect(at * step, 1, Math.max(step - gap, 3), canvas.height - 2);
  });
}

function drawSequences() {
  if (!data.sequences.length) return;
  const body = $('per-sequence').tBodies[0];
  body.replaceChildren(...data.sequences.flatMap(({name, images, tracks}, number) => data.methods.flatMap((method, i) => {
    const all = images.map(image => counted(i, image)).filter(Boolean), sum = key => all.reduce((total, of) => total + of[key], 0);
    if (!all.length) return [];
    const line = make('tr'), cell = make('td', '', {className: 'text'}), open = make('button', name, {type: 'button'});
    open.addEventListener('click', () => {
      openSequence(number);
      $('player').scrollIntoView();
      $('time').focus();
    });
    cell.append(open);
    line.append(cell, make('td', method, {className: 'text'}), ...[all.length, sum('targets'), sum('hits'), sum('misses'), sum('alarms')].map(n => make('td', n)),
      make('td', tracks[i] || '-', {className: 'text'}));
    return [line];
  })));
  drawStrips();
  showMoment();
}

function moveTime(by) {
  const last = +$('time').max, next = +$('time').value + by;
  $('time').value = next > last ? 0 : Math.max(next, 0);
  return showMoment();
}
function play(going) {
  clearTimeout(timer);
  timer = null;
  $('play').textContent = going ? 'Pause' : 'Play';
  const mine = ++plays;  // what was paused while it waited for a picture does not go on
  const step = async () => {
    const started = performance.now();
    await moveTime(1);
    if (plays === mine) timer = setTimeout(step, Math.max(0, 1000 / +$('pace').value - (performance.now() - started)));
  };
  if (going) timer = setTimeout(step);
}
if ($('player')) {
  $('sequence').addEventListener('change', event => openSequence(+event.target.value));
  $('time').addEventListener('input', showMoment);
  $('play').addEventListener('click', () => play(timer === null));
  $('player').addEventListener('keydown', event => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!by || ['SELECT', 'INPUT'].includes(event.target.tagName)) return;
    event.preventDefault();
    moveTime(by);
  });
  new ResizeObserver(() => data && showMoment()).observe($('player'));
}

// Preset, theme, printing, stages.

function choose(number) {
  preset = number;
  $('preset').value = $('viewer-preset').value = number;
  document.querySelectorAll('[data-preset]').forEach(part => { part.hidden = +part.dataset.preset !== preset; });
  document.querySelectorAll('.chosen-preset').forEach(part => { part.textContent = `${data.presets[preset].name} (${data.presets[preset].words})`; });
  drawCharts();
  drawCases();
  drawTable();
  drawSequences();
  drawAll();
  if (view.image !== null) fillViewer();
}
['preset', 'viewer-preset'].forEach(id => $(id).addEventListener('change', event => choose(+event.target.value)));
$('order').addEventListener('change', () => { drawCases(); drawAll(); });

function setTheme(theme) {
  root.dataset.theme = theme;
  drawCharts();
  if (data.sequences.length) showMoment();
  return Promise.all([...pending.keys()].map(draw));
}
$('theme').addEventListener('click', () => setTheme(root.dataset.theme === 'dark' ? 'light' : 'dark'));
let before = null;
addEventListener('beforeprint', () => {
  before = root.dataset.theme;
  setTheme('light');
});
addEventListener('afterprint', () => setTheme(before));

const large = $('large');
document.querySelectorAll('[data-enlarge]').forEach(button => button.addEventListener('click', () => {
  const image = button.querySelector('img'), copy = large.querySelector('img');
  [copy.src, copy.alt] = [image.src, image.alt];
  copy.classList.toggle('long', image.naturalHeight > 1.5 * image.naturalWidth);
  large.querySelector('p').textContent = button.closest('figure').querySelector('figcaption').textContent;
  large.showModal();
}));
large.addEventListener('click', event => { if (event.target.tagName !== 'P') large.close(); });

(async () => {
  try {
    data = JSON.parse(await unpacked('data'));
    [target, found] = [data.target_columns, data.detection_columns].map(names => Object.fromEntries(names.map((name, i) => [name, i])));
  } catch (error) {
    $('broken').textContent = `Charts, cases and images cannot be shown: ${error}. A browser from 2023 on is needed.`;
    $('broken').hidden = false;
    return;
  }
  data.sequences.forEach(({name}, number) => $('sequence').append(make('option', name, {value: number})));
  if (data.sequences.length) $('time').max = data.sequences[0].images.length - 1;
  choose(0);
  follow();
  root.dataset.ready = '';
})();
