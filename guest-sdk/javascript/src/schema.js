/** Schemas: whether what the host offers fits what a record expects, and where the buffers of each column then lie. */

import { BadInput, Failure } from "./failures.js";
import { gatherBad, List, Struct, withValidity } from "./shapes.js";

const PLAIN = {
  b: "bool", c: "int8", s: "int16", i: "int32", l: "int64", C: "uint8", S: "uint16", I: "uint32", L: "uint64",
  e: "float16", f: "float32", g: "float64", tdD: "date32", tdm: "date64", u: "utf8", U: "large_utf8", z: "binary",
  Z: "large_binary",
};
const UNITS = { s: "s", m: "ms", u: "us", n: "ns" };

/** A schema in pre-order as trees, their buffers numbered. */
export function trees(schema) {
  let at = 0;
  let buffers = 0;
  const take = (prefix) => {
    const field = schema[at++];
    if (field === undefined) throw new Failure("a schema ends in the middle of a field");
    const tree = { field, first: buffers, children: [] };
    const count = bufferCount(field.format);
    if (count === 0) {
      throw new BadInput(`column \`${prefix}${field.name}\` has the type \`${field.format}\` (a format of Arrow's C data interface), which this version of @penstock/sdk does not know: update it`);
    }
    buffers += count;
    for (let child = 0; child < field.children; child++) tree.children.push(take(`${prefix}${field.name}.`));
    return tree;
  };
  const found = [];
  while (at < schema.length) found.push(take(""));
  return found;
}

function flat(found) {
  return found.flatMap((tree) => [tree.field, ...flat(tree.children)]);
}

/** How many buffers a format has; 0 for one that is not in the contract. */
function bufferCount(format) {
  if (format === "u" || format === "U" || format === "z" || format === "Z") return 3;
  if (format in PLAIN || format === "+l" || format === "+L") return 2;
  if (format === "+s") return 1;
  return /^(d:|w:|tt[smun]$|tD[smun]$|ts[smun]:)/.test(format) ? 2 : 0;
}

/** What a type is called in pipelines. */
export function typeName({ field: { format }, children }) {
  if (format in PLAIN) return PLAIN[format];
  const rest = format.slice(2);
  switch (format.slice(0, 2)) {
    case "d:": {
      const [precision, scale, bits] = rest.split(",");
      return `decimal${bits ?? 128}[${precision}, ${scale}]`;
    }
    case "w:":
      return `fixed_size_binary[${rest}]`;
    case "tt":
      return `time${rest === "s" || rest === "m" ? 32 : 64}[${UNITS[rest]}]`;
    case "tD":
      return `duration[${UNITS[rest]}]`;
    case "ts":
      return rest.length > 2 ? `timestamp[${UNITS[rest[0]]}, ${rest.slice(2)}]` : `timestamp[${UNITS[rest[0]]}]`;
    case "+l":
      return `list[${children.map(typeName).join(", ")}]`;
    case "+L":
      return `large_list[${children.map(typeName).join(", ")}]`;
    case "+s":
      return `struct{${children.map((child) => `${child.field.name}: ${typeName(child)}`).join(", ")}}`;
    default:
      return `\`${format}\``;
  }
}

/** The type to declare for a column of this one. */
function sdkName(tree) {
  const { format } = tree.field;
  const rest = format.slice(2);
  if (format in PLAIN) return PLAIN[format].replace("large_", "");
  switch (format.slice(0, 2)) {
    case "d:": {
      const [precision, scale, bits] = rest.split(",");
      return `decimal${bits ?? 128}(${precision}, ${scale})`;
    }
    case "w:":
      return `fixedBinary(${rest})`;
    case "tt":
      return `timeOfDay("${UNITS[rest]}")`;
    case "tD":
      return `duration("${UNITS[rest]}")`;
    case "ts":
      return `timestamp("${UNITS[rest[0]]}"${rest.length > 2 ? "" : ", null"})`;
    case "+l":
    case "+L": {
      const [child] = tree.children;
      return `list(${child.field.nullable ? `nullable(${sdkName(child)})` : sdkName(child)})`;
    }
    default:
      return format === "+s" ? "struct({…})" : "another type";
  }
}

function fits(wanted, found) {
  if (wanted === found || { u: "U", z: "Z", "+l": "+L" }[wanted] === found) return true;
  // With a zone it is an instant, whichever zone it is shown in; without one it is not.
  return wanted.startsWith("ts") && found.slice(0, 4) === wanted.slice(0, 4) && wanted.length > 4 === found.length > 4;
}

/** The schema of some fields. */
export function schemaOf(fields) {
  const schema = [];
  for (const [name, shape] of fields) shape.describe(name, schema);
  return schema;
}

export function columnNames(fields) {
  return fields.map(([name, shape]) => shape.columnName ?? name);
}

/** What reads each of some fields from a batch of another schema. Columns are found by name, at every level. */
export function bind(fields, actual, whose, prefix = "") {
  const wanted = trees(schemaOf(fields));
  return fields.map(([name, shape], index) => {
    const column = shape.columnName ?? name;
    const found = actual.find((tree) => tree.field.name === column);
    if (found === undefined) throw missing(`${prefix}${column}`, wanted[index], actual, whose);
    return bindShape(shape, wanted[index], found, `${prefix}${column}`, whose);
  });
}

function missing(path, wanted, actual, whose) {
  const names = actual.map((tree) => `\`${tree.field.name}\``).join(", ") || "none";
  return new BadInput(`${whose} has no column \`${path}\`, which the transform expects as ${typeName(wanted)}; there are: ${names}. If it has another name, declare it as named("that name", …)`);
}

function bindShape(shape, wanted, found, path, whose) {
  if (!fits(shape.format, found.field.format)) {
    throw new BadInput(`${whose} has a column \`${path}\` of type ${typeName(found)}, but the transform expects ${typeName(wanted)}: declare it as \`${sdkName(found)}\`, or have the pipeline hand over ${typeName(wanted)}`);
  }
  let children = [];
  // Sources call the child of a list `item`, `element` and other things.
  if (shape instanceof List) children = [bindShape(shape.item, wanted.children[0], found.children[0], `${path}.item`, whose)];
  else if (shape instanceof Struct) children = bind(shape.fields, found.children, whose, `${path}.`);
  const large = found.field.format === "U" || found.field.format === "Z" || found.field.format === "+L";
  return withValidity(shape, found.first, shape.read(found.first, large, children));
}

/** Finds the columns of a row in the one event that the host offers. */
export function selectEvent(fields, opening) {
  if (opening.events.length !== 1) throw new BadInput(`this transform takes one event, but the pipeline offers ${opening.events.length}`);
  const [event] = opening.events;
  const whose = `event \`${event.name}\``;
  const names = columnNames(fields);
  const there = topLevel(event.schema);
  // Columns that nobody wants may be of types that this SDK does not know.
  const known = there.filter((columns) => names.includes(columns[0].name)).flatMap((columns) => trees(columns));
  const wanted = trees(schemaOf(fields));
  const picked = names.map((name, index) => {
    const found = known.find((tree) => tree.field.name === name);
    if (found === undefined) throw missing(name, wanted[index], there.map(([field]) => ({ field, children: [] })), whose);
    return found;
  });
  // What the host will send is the picked columns alone, so buffers are numbered anew.
  return { reads: bind(fields, trees(flat(picked)), whose), needs: [{ event: event.name, columns: names }] };
}

function topLevel(schema) {
  const found = [];
  for (let at = 0; at < schema.length; ) {
    const began = at;
    for (let left = 1; left > 0; at++) {
      if (at >= schema.length) throw new Failure("a schema ends in the middle of a field");
      left += schema[at].children - 1;
    }
    found.push(schema.slice(began, at));
  }
  return found;
}

const RESERVED = ["window_start", "window_end", "revision", "withdrawn"];

/** The host adds the key and the window to the output itself. */
export function refuseReservedNames(output, key) {
  for (const name of columnNames(output)) {
    if (RESERVED.includes(name) || key.some((field) => field.name === name)) {
      throw new BadInput(`the transform's output has a column \`${name}\`, which the host adds itself: rename the field, or remove it`);
    }
  }
}

/** Reads columns, and what is bad in them together. */
export function readColumns(fields, reads, buffers, count) {
  const columns = reads.map((read) => read(buffers, count));
  return { columns, bad: gatherBad(fields, columns) };
}
