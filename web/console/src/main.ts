import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { centre } from './state/centre.svelte';

centre.start();

export default mount(App, { target: document.getElementById('app')! });
