#!/usr/bin/env node
/**
 * `penstock-sdk build FILE --wit FOLDER --output FILE [--packages FOLDER]`: makes a component of a module in JavaScript or TypeScript.
 * `penstock build` calls it, and gives the folder of the contract's `wit`, which the host has and this package has not.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const SDK = resolve(dirname(fileURLToPath(import.meta.url)), "../src");

class Refused extends Error {}

/** Folders that packages may be in: the author's, the one that was given, and that of this package. */
const bases = [import.meta.url];

async function use(name) {
  for (const base of bases) {
    try {
      return await import(pathToFileURL(createRequire(base).resolve(name)).href);
    } catch (error) {
      if (!["MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED"].includes(error.code)) throw error;
    }
  }
  throw new Refused(`the package ${name} is missing: npm install --save-dev ${name}`);
}

/** Bundles a module; gives the text and its source map. */
async function bundle(esbuild, options) {
  try {
    const made = await esbuild.build({
      bundle: true, format: "esm", target: "es2022", platform: "neutral", mainFields: ["module", "main"], write: false, logLevel: "silent",
      sourcemap: "external", external: ["penstock:*", "node:*"], outfile: "bundle.mjs", alias: { "@penstock/sdk/component": join(SDK, "component.js"), "@penstock/sdk": join(SDK, "index.js") },
      ...options,
    });
    const [map, text] = made.outputFiles.map((file) => file.text);
    return { text, map: JSON.parse(map) };
  } catch (error) {
    if (!error.errors) throw error;
    throw new Refused(error.errors.map(({ location, text }) => (location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text)).join("\nerror: "));
  }
}

/** For each line of the bundle the author's file and line, where it is the author's: what errors are told with. */
function linesOf(map, folder) {
  const files = [];
  const numbers = new Map();
  map.sources.forEach((source, index) => {
    const file = resolve(folder, source);
    if (file.startsWith(SDK) || source.startsWith("penstock-entry")) return;
    numbers.set(index, files.length);
    files.push(relative(folder, file));
  });
  const at = [null];
  let source = 0;
  let line = 0;
  for (const group of map.mappings.split(";")) {
    let first = null;
    for (const segment of group === "" ? [] : group.split(",")) {
      const [, toSource = 0, toLine = 0] = decode(segment);
      source += toSource;
      line += toLine;
      if (first === null && numbers.has(source)) first = [numbers.get(source), line + 1];
    }
    at.push(first);
  }
  return { files, at };
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The numbers of a segment of a source map (base 64, five bits a digit, the sign in the last bit). */
function decode(segment) {
  const numbers = [];
  let value = 0;
  let shift = 0;
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if ((digit & 32) === 0) {
      numbers.push(value & 1 ? -(value >> 1) : value >> 1);
      value = shift = 0;
    }
  }
  return numbers;
}

/** Runs the module here, and sees which transforms it has. */
async function look(esbuild, file, scratch) {
  const { text, map } = await bundle(esbuild, { entryPoints: [file], absWorkingDir: dirname(file) });
  const module = join(scratch, "look.mjs");
  writeFileSync(module, text);
  let loaded;
  try {
    loaded = await import(pathToFileURL(module).href);
  } catch (error) {
    const { told } = await import(pathToFileURL(join(SDK, "failures.js")).href);
    throw new Refused(told(error, linesOf(map, dirname(file))));
  }
  const found = { window: [], mapper: [] };
  for (const [name, value] of Object.entries(loaded)) {
    if (value?.penstock?.endsWith("indow")) found.window.push([name, value]);
    if (value?.penstock?.endsWith("apper")) found.mapper.push([name, value]);
  }
  for (const [kind, all] of Object.entries(found)) {
    if (all.length > 1) throw new Refused(`${relative(process.cwd(), file)} exports several of a kind, ${all.map(([name]) => name).join(", ")}: export one ${kind}`);
  }
  if (found.window.length + found.mapper.length === 0) {
    throw new Refused(`${relative(process.cwd(), file)} exports nothing that window() or mapper() made, so there is nothing to build: is \`export default\` missing?`);
  }
  const { placesOf } = await import(pathToFileURL(join(SDK, "failures.js")).href);
  const lines = linesOf(map, dirname(file));
  const declared = {};
  for (const [[, definition]] of Object.values(found).filter((all) => all.length > 0)) declared[definition.penstock] = placesOf(definition.stack, lines)[0]?.place;
  return { window: found.window[0], mapper: found.mapper[0], declared };
}

/** Has the TypeScript compiler look at the types, where there is one. */
function checkTypes(file) {
  const project = join(dirname(file), "tsconfig.json");
  if (!file.endsWith(".ts") && !existsSync(project)) return;
  let compiler;
  for (const base of bases) {
    try {
      compiler ??= join(dirname(createRequire(base).resolve("typescript/package.json")), "bin/tsc");
    } catch {
      // It may be in the next.
    }
  }
  if (compiler === undefined) throw new Refused("the package typescript is missing: npm install --save-dev typescript");
  const given = existsSync(project) ? ["-p", project] : [file, "--strict", "--target", "es2022", "--module", "nodenext"];
  const checked = spawnSync(process.execPath, [compiler, "--noEmit", ...given], { encoding: "utf8" });
  if (checked.status !== 0) throw new Refused(`the types do not fit:\n${checked.stdout}${checked.stderr}`.trimEnd());
}

async function build(file, wit, output, log) {
  if (!existsSync(file)) throw new Refused(`there is no file ${file}`);
  const esbuild = await use("esbuild");
  const { componentize } = await use("componentize-qjs");
  checkTypes(file);
  const scratch = mkdtempSync(join(dirname(file), ".penstock-build-"));
  try {
    const { window, mapper, declared } = await look(esbuild, file, scratch);
    const migrating = window !== undefined && Object.keys(window[1].migrations ?? {}).length > 0;
    const world = window && mapper ? (migrating ? "everything" : "mapping-windowing") : mapper ? "mapping" : migrating ? "windowing-migrating" : "windowing";
    const entry = [
      `import * as component from "@penstock/sdk/component";`,
      `import * as module from ${JSON.stringify(`./${relative(dirname(file), file)}`)};`,
      ...(window ? [`const made = component.windowed(module[${JSON.stringify(window[0])}]);`, "export const windowed = made.windowed;"] : []),
      ...(migrating ? ["export const migration = made.migration;"] : []),
      ...(mapper ? [`export const mapper = component.mapper(module[${JSON.stringify(mapper[0])}]);`] : []),
    ].join("\n");
    const { text, map } = await bundle(esbuild, { stdin: { contents: entry, resolveDir: dirname(file), sourcefile: "penstock-entry.js" }, absWorkingDir: dirname(file) });
    // Where the definitions are is known from here: QuickJS tells the end of a call of several lines.
    const lines = JSON.stringify({ ...linesOf(map, dirname(file)), declared });
    const { component } = await componentize({ witPath: wit, jsSource: `${text}\nglobalThis.__penstock_lines = ${lines};\n`, world: `${world}`, stubWasi: true, sync: true });
    writeFileSync(output, component);
    if (log) console.log(`${output}: ${component.length} bytes, world ${world}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { wit: { type: "string" }, output: { type: "string", short: "o" }, packages: { type: "string" }, verbose: { type: "boolean", short: "v" } },
});
if (positionals[0] !== "build" || positionals.length !== 2 || !values.wit || !values.output) {
  console.error("usage: penstock-sdk build FILE --wit FOLDER --output FILE");
  process.exit(2);
}
bases.unshift(resolve(positionals[1]), ...(values.packages ? [join(resolve(values.packages), "package.json")] : []));
try {
  await build(resolve(positionals[1]), resolve(values.wit), resolve(values.output), values.verbose);
} catch (error) {
  console.error(error instanceof Refused ? `error: ${error.message}` : error);
  process.exit(2);
}
