import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import { quiet } from './api/quiet';
import { language, loadTexts } from './lang/lang';
import App from './App.svelte';
import { loadOthers, pageOf } from './pages/pages';
import { centre } from './state/centre.svelte';
import { route } from './state/route.svelte';

document.documentElement.lang = language();
centre.start(route().page);

// What is shown first is shown whole. A page that cannot be loaded is the frame's to tell.
await Promise.all([loadTexts(), pageOf(route().page).catch(() => {})]);

const target = document.getElementById('app')!;
target.replaceChildren(); // the shell that stood there until now
mount(App, { target });
await quiet();
centre.lookAll();
await quiet();
loadOthers();
