"use strict";
(() => {
  const { patients, reader: named, columns } = JSON.parse(document.getElementById("data").textContent);
  const grades = [["negative", "negative"], ["indeterminate", "indeterminate"], ["positive", "positive"],
    ["not_measurable", "cannot be judged"]];
  const get = (id) => document.getElementById(id);
  const reader = get("reader"), list = get("patient"), body = get("joints"), message = get("message");
  const key = (patient, joint) => `${patient}\n${joint}`;
  const given = new Map();
  let at = 0, saved = true;

  const say = (text, wrong = false) => {
    message.textContent = text;
    message.classList.toggle("wrong", wrong);
  };
  const now = () => new Date().toISOString().slice(0, 19) + "Z";
  const count = ([patient, joints]) => joints.filter((joint) => given.has(key(patient, joint))).length;
  const grade = (patient, joint, value) => {
    given.set(key(patient, joint), { grade: value, read_at: now() });
    saved = false;
  };

  const tell = () => {
    const [patient, joints] = patients[at];
    const whole = patients.filter((p) => count(p) === p[1].length).length;
    get("done").textContent = `${count(patients[at])} of ${joints.length} joints; ${whole} of ${patients.length} patients done`;
    get("rest").disabled = count(patients[at]) === joints.length;
    [...list.options].forEach((option, n) => {
      const full = count(patients[n]) === patients[n][1].length;
      option.textContent = `${patients[n][0]}${full ? " \u2713" : ""}`;
    });
  };

  const row = (patient, joint, place, above) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.id = `joint-${place}`;
    head.textContent = joint;
    if (joint.split(" ")[0] !== above) line.className = "level";
    const cell = document.createElement("td");
    const set = document.createElement("fieldset");
    set.setAttribute("aria-labelledby", head.id);
    for (const [value, words] of grades) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "radio";
      input.name = `grade-${place}`;
      input.value = value;
      input.checked = given.get(key(patient, joint))?.grade === value;
      input.addEventListener("change", () => {
        grade(patient, joint, value);
        line.classList.add("graded");
        tell();
      });
      label.append(input, ` ${words}`);
      set.append(label);
    }
    line.classList.toggle("graded", given.has(key(patient, joint)));
    cell.append(set);
    line.append(head, cell);
    return line;
  };

  const draw = () => {
    const [patient, joints] = patients[at];
    get("caption").textContent = `Patient ${patient}`;
    body.replaceChildren(...joints.map((joint, n) =>
      row(patient, joint, n, n ? joints[n - 1].split(" ")[0] : "")));
    list.selectedIndex = at;
    get("back").disabled = at === 0;
    get("next").disabled = at === patients.length - 1;
    tell();
  };

  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = () => {
    const lines = [columns];
    for (const [patient, joints] of patients) {
      for (const joint of joints) {
        const found = given.get(key(patient, joint)) ?? { grade: "", read_at: "" };
        lines.push([reader.value.trim(), patient, joint, found.grade, found.read_at]);
      }
    }
    return lines.map((line) => line.map(quoted).join(",") + "\r\n").join("");
  };

  const cells = (text) => {
    const rows = [[""]];
    let inside = false;
    for (let n = 0; n < text.length; n += 1) {
      const letter = text[n], line = rows.at(-1);
      if (inside) {
        if (letter !== '"') line[line.length - 1] += letter;
        else if (text[n + 1] === '"') { line[line.length - 1] += '"'; n += 1; } else inside = false;
      } else if (letter === '"') inside = true;
      else if (letter === ",") line.push("");
      else if (letter === "\n") rows.push([""]);
      else if (letter !== "\r") line[line.length - 1] += letter;
    }
    return rows.filter((line) => line.some((cell) => cell !== ""));
  };

  const open = (text) => {
    const [head, ...rows] = cells(text.replace(/^\ufeff/, ""));
    const places = columns.map((name) => (head ?? []).indexOf(name));
    if (places.includes(-1)) return say("This file is no reading that this form has saved.", true);
    const known = new Set(patients.flatMap(([patient, joints]) => joints.map((joint) => key(patient, joint))));
    const kinds = new Set(grades.map(([value]) => value));
    let taken = 0, foreign = 0;
    for (const line of rows) {
      const [who, patient, joint, value, when] = places.map((place) => line[place] ?? "");
      if (who && !reader.value) reader.value = who;
      if (!value) continue;
      if (!known.has(key(patient, joint)) || !kinds.has(value)) { foreign += 1; continue; }
      given.set(key(patient, joint), { grade: value, read_at: when });
      taken += 1;
    }
    draw();
    return say(`${taken} grades were read.` + (foreign ? ` ${foreign} rows are of no joint of this form.` : ""), foreign > 0);
  };

  get("save").addEventListener("click", () => {
    if (!reader.value.trim()) {
      say("Give the name or a number of the reader first.", true);
      reader.focus();
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `reading-${reader.value.trim().replace(/[^A-Za-z0-9_-]+/g, "-")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    saved = true;
    say(`Saved as ${link.download}.`);
  });
  get("load").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) open(await file.text());
    event.target.value = "";
  });
  get("rest").addEventListener("click", () => {
    const [patient, joints] = patients[at];
    for (const joint of joints) if (!given.has(key(patient, joint))) grade(patient, joint, "negative");
    draw();
  });
  get("back").addEventListener("click", () => { at -= 1; draw(); });
  get("next").addEventListener("click", () => { at += 1; draw(); });
  list.addEventListener("change", () => { at = list.selectedIndex; draw(); });
  reader.addEventListener("input", () => { saved = false; });
  addEventListener("beforeunload", (event) => { if (!saved && given.size) event.preventDefault(); });

  patients.forEach(([patient]) => list.append(new Option(patient)));
  reader.value = named;
  draw();
})();
