// Pages work without any of this. It makes them live, and quick to use by keyboard.
import { follow } from "./live.js";
import { keyboard } from "./keyboard.js";
import { forms } from "./forms.js";
import { ticking } from "./times.js";

ticking();
forms(document);
keyboard();
follow((part) => forms(part));
