import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import { language } from './lang/lang';
import App from './App.svelte';
import { centre } from './state/centre.svelte';

document.documentElement.lang = language();
centre.start();

export default mount(App, { target: document.getElementById('app')! });
