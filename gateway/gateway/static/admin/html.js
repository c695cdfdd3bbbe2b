// The one import of every screen: markup as tagged templates, and hooks.
import { Fragment, h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
export { Fragment, render };

/** Markup. Text in it is text, never HTML. */
export const html = htm.bind(h);
